"""`gpt2 watch`: a page that shows runs while they train."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from gpt2.cli.output_path import require_free
from gpt2.cli.parsing import parse
from gpt2.cli.serve import KEY_VARIABLE, announce, require_extra, with_key
from gpt2.config import ServeConfig
from gpt2.config.checks import check
from gpt2.errors import InputError
from gpt2.progress import log


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Show runs while they train: a page that a browser opens, live. It reads the files of a run
    directory alone, so the run may be on another machine whose disk this one can read."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run directories; they need not be there yet."""
    host: str = ServeConfig.host
    """Address to listen on. Any but this machine's own (127.0.0.1, ::1) needs an API key."""
    port: int = ServeConfig.port
    """TCP port; 0 for any that is free."""
    api_key: str | None = None
    """Key that the page asks for; GPT2_API_KEY in the environment does the same, and the list of
    processes does not show it."""
    out: Path | None = None
    """HTML file to write when all runs have ended, or at Ctrl-C: the page with all its data, which
    opens without network. Then the command ends."""
    force: bool = False
    """Replace the file that is there already."""

    def __post_init__(self) -> None:
        check(bool(self.runs), "gpt2 watch takes run directories, such as runs/demo", "none")

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C; print the address, and the file that is written.

        Raises:
            Gpt2Error: A run is no directory, the file is there already, or the address cannot be
                listened on.
        """
        config = ServeConfig(host=self.host, port=self.port, api_key=self.api_key)
        config = with_key(config, os.environ.get(KEY_VARIABLE))
        config.require_protection()
        check_runs(self.runs)
        if self.out:
            require_free(self.out, force=self.force)
        require_extra("watch")
        from gpt2.serve.watch.server import watch

        asyncio.run(watch(self.runs, config, announce, self.out))
        if self.out:
            print(self.out)


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    parse(Watch, args, verb="watch").run()


def check_runs(runs: Sequence[Path]) -> None:
    """Log which runs are not there yet.

    Raises:
        InputError: One is a file.
    """
    for run in runs:
        if run.exists() and not run.is_dir():
            raise InputError(f"a run must be a directory, such as runs/demo; {run} is a file")
        if not run.exists():
            log(f"{run} is not there yet; the page waits for it")
