"""How is the page of runs served alone? And written as one file when they have ended."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import RedirectResponse, Response

from gpt2.config import ServeConfig
from gpt2.serve.errors import add_error_handlers
from gpt2.serve.pages import web_router
from gpt2.serve.paths import RUN
from gpt2.serve.server import Loaded, Server
from gpt2.serve.watch.file import page_file
from gpt2.serve.watch.router import router_of
from gpt2.serve.watch.watcher import Watcher
from llm_tokenizer.atomic import write_whole


async def watch(
    runs: Sequence[Path],
    config: ServeConfig,
    announce: Callable[[str], None],
    out: Path | None = None,
) -> None:
    """Serve the page of runs until SIGTERM or Ctrl-C.

    Args:
        runs: Their directories, which need not be there yet.
        config: Where to listen, and who may ask.
        announce: Called with the address when the server is ready.
        out: HTML file to write at the end, which comes when all runs have ended, too.
    Raises:
        ListenError: The address cannot be listened on.
        OSError: The file cannot be written.
    """
    config.require_protection()
    server, watcher = Server(config), Watcher(runs)

    async def load() -> Loaded:
        await asyncio.sleep(0)  # the server begins, and takes the signals
        return Loaded(watch_app(watcher, needs_key=config.api_key is not None))

    ending = asyncio.ensure_future(_stop_at_end(server, watcher)) if out else None
    try:
        await server.run_until_stopped(load, announce)
    finally:
        if ending:
            ending.cancel()
            with suppress(asyncio.CancelledError):
                await ending
    if out:
        html = await asyncio.to_thread(page_file, await watcher.states())
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, html.encode())


def watch_app(watcher: Watcher, *, needs_key: bool) -> FastAPI:
    """Return the application that shows the runs that a watcher follows; see `watch_router`."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_error_handlers(app)
    app.include_router(web_router())
    app.include_router(router_of(watcher, needs_key=needs_key))

    @app.get("/")
    def lead_to_page() -> Response:
        """Lead to the page."""
        return RedirectResponse(RUN)

    return app


async def _stop_at_end(server: Server, watcher: Watcher) -> None:
    """Stop a server when all runs have ended."""
    while not await watcher.have_ended():
        await asyncio.sleep(watcher.seconds)
    server.stop()
