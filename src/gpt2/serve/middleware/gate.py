"""When does the server take requests? After its models are loaded, until it is asked to stop."""

import asyncio
from typing import Literal

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gpt2.serve.errors import MOST_SHOWN, ApiError
from gpt2.serve.middleware.bodies import READS_BODY
from gpt2.serve.paths import HEALTH

RETRY_SECONDS = 5
REASONS = {
    "loading": "the models are being loaded; try again soon",
    "stopping": "the server stops; try again when it runs again",
}
LOADING_PAGE = """<!DOCTYPE html>
<html lang="en">
<title>GPT-2</title>
<p>The models are being loaded. This page will show them when they are ready.</p>
"""


class Gate:
    """Passes requests on while the server is ready, and knows those that are under way.

    Attributes:
        app: What answers them; None while it is made.
        is_stopping: Whether new ones are refused.
    """

    def __init__(self) -> None:
        self.app: ASGIApp | None = None
        self.is_stopping = False
        self._under_way: dict[asyncio.Task[None], Scope] = {}

    @property
    def phase(self) -> Literal["loading", "ready", "stopping"]:
        """What the server is doing."""
        if self.is_stopping:
            return "stopping"
        return "loading" if self.app is None else "ready"

    @property
    def count(self) -> int:
        """Requests that are under way."""
        return len(self._under_way)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["path"] == HEALTH:
            await self._health(scope["method"])(scope, receive, send)
        elif self.app is None or self.is_stopping:
            await self._refusal(scope)(scope, receive, send)
        else:
            await self._pass(self.app, scope, receive, send)

    async def drained(self, seconds: float) -> bool:
        """Wait for the requests that are under way; return whether all of them have ended."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=seconds)
        return not self._under_way

    def refuse_unread(self) -> None:
        """Refuse requests whose bodies have not come yet, as if they were new."""
        for task, scope in self._under_way.items():
            if READS_BODY in scope.get("state", {}):
                task.cancel()

    def end(self, method: str | None = None) -> None:
        """End requests in the middle, those of one method or all."""
        for task, scope in self._under_way.items():
            if method in (None, scope["method"]):
                task.cancel()

    def _health(self, method: str) -> Response:
        if method not in ("GET", "HEAD"):
            error = ApiError(405, f"{HEALTH} takes GET, HEAD, got {method[:MOST_SHOWN]}")
            return error.response({"Allow": "GET, HEAD"})
        is_ready = self.phase == "ready"
        wait = {} if is_ready else {"Retry-After": str(RETRY_SECONDS)}
        status = "ok" if is_ready else self.phase
        return JSONResponse({"status": status}, 200 if is_ready else 503, headers=wait)

    def _refusal(self, scope: Scope) -> Response:
        """Return why nothing is answered: for a browser, while models load, as a page."""
        accepts_page = "text/html" in Headers(scope=scope).get("Accept", "")
        if self.phase == "loading" and scope["method"] == "GET" and accepts_page:
            seconds = str(RETRY_SECONDS)  # Refresh: the browser asks again after so many
            headers = {"Connection": "close", "Retry-After": seconds, "Refresh": seconds}
            return HTMLResponse(LOADING_PAGE, 503, headers | {"Cache-Control": "no-store"})
        error = ApiError(503, REASONS[self.phase], retry_after=RETRY_SECONDS, code=self.phase)
        return error.response({"Connection": "close"})

    async def _pass(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._under_way[task] = scope
        try:
            await app(scope, receive, send)
        except asyncio.CancelledError:
            if READS_BODY not in scope.get("state", {}):
                raise
            await self._refusal(scope)(scope, receive, send)
        finally:
            del self._under_way[task]
