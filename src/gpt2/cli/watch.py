"""`gpt2 watch`: a page that shows runs while they train."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from gpt2.cli.parsing import parse


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Show runs while they train, in a browser."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run directories; they need not be there yet."""

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C."""
        import uvicorn
        from fastapi import FastAPI

        from gpt2.serve.pages import mount_web
        from gpt2.serve.watch.router import watch_router

        app = FastAPI()
        mount_web(app)
        server = uvicorn.Server(uvicorn.Config(app, port=8001))
        app.include_router(watch_router(self.runs, lambda: server.should_exit))
        server.run()


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    parse(Watch, args, verb="watch").run()
