"""Which routes show runs while they train? The page /run, and what it asks for."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response, StreamingResponse

from gpt2.serve.errors import ApiError
from gpt2.serve.pages import page_response
from gpt2.serve.paths import RUN
from gpt2.serve.watch.file import PAGE, history_of, page_data, page_file, title_of
from gpt2.serve.watch.watcher import Watcher
from gpt2.serve.wire_format import EVENT_HEADERS, EVENT_STREAM


def watch_router(runs: Sequence[Path], *, needs_key: bool) -> APIRouter:
    """Return the routes of the page of some runs.

    Args:
        runs: Their directories, which need not be there yet.
        needs_key: Whether the server has a key. The page itself is sent without it, so its HTML
            then has the names of the runs alone.
    """
    return router_of(Watcher(runs), needs_key=needs_key)


def router_of(watcher: Watcher, *, needs_key: bool) -> APIRouter:
    """Return the routes of the page of the runs that a watcher follows; see `watch_router`."""
    router = APIRouter(include_in_schema=False)
    shown = {
        number: (name, name if needs_key else run) for number, (name, run) in watcher.names.items()
    }

    @router.get(RUN)
    async def show_page() -> Response:
        """Return the page."""
        data = await asyncio.to_thread(page_data, shown, live=True)
        return page_response(PAGE, title_of(shown), {"page": data})

    @router.get(f"{RUN}/events")
    async def send_events() -> Response:
        """Send everything, and then what is new, until the reader leaves or the server stops."""
        stream = _server_sent(watcher.events())
        return StreamingResponse(stream, media_type=EVENT_STREAM, headers=EVENT_HEADERS)

    @router.get(f"{RUN}/history")
    async def send_history(run: str) -> Any:
        """Return the moments that a run has kept."""
        if run not in watcher.names:
            known = ", ".join(watcher.names)
            raise ApiError(404, f"no run {run!r:.80}; this server has {known}", param="run")
        states = await watcher.states()
        return JSONResponse(await asyncio.to_thread(history_of, states[run]))

    @router.get(f"{RUN}/file")
    async def send_file() -> Response:
        """Return the page as one file."""
        html = await asyncio.to_thread(page_file, await watcher.states())
        headers = {"Content-Disposition": 'attachment; filename="runs.html"'}
        return Response(html, media_type="text/html", headers=headers)

    return router


async def _server_sent(events: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    """Yield events in the form of the HTML standard, and a comment where there is none.

    By the comment, a proxy sees that the stream is alive, and the server that a reader has gone.
    """
    async with aclosing(events):
        async for event in events:
            yield f"data: {event}\n\n" if event else ": \n\n"
