"""What does the log have of a request? Counts alone, never its text."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPMethod

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt2.progress import log
from gpt2.serve.errors import as_failure, type_and_place
from gpt2.serve.paths import HEALTH, METRICS, WEB

QUIET = (HEALTH, METRICS, WEB)  # routes whose good answers are not logged
GOOD = (200, 304, 503)  # of those; 503 only means that the server is loading or stopping
METHODS = frozenset(HTTPMethod)  # a request may have any other, which could be a part of a text


@dataclass(frozen=True)
class Usage:
    """What a request asked for, and what has been done for it."""

    prompts: int
    count: Callable[[], Mapping[str, int]]  # the usage of OpenAI's API, as it is now


def note_usage(request: Request, prompts: int, count: Callable[[], Mapping[str, int]]) -> None:
    """Let the log have the counts of a request, when it has ended.

    Args:
        request: Whose route calls this.
        prompts: How many it has.
        count: Returns prompt_tokens and completion_tokens.
    """
    request.state.usage = Usage(prompts, count)


class RequestLog:
    """Passes requests on, and writes a line about each when it has ended.

    Nothing that goes wrong passes it: the messages of exceptions may hold parts of a request.

    Args:
        app: Takes the requests.
        count: Called with the route and the status of each.
    """

    def __init__(self, app: ASGIApp, count: Callable[[str, int], None]) -> None:
        self._app = app
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":  # the protocol has lifespan and websocket, too
            return
        state = scope.setdefault("state", {})
        started, status, failure = time.monotonic(), 0, ""
        is_whole = has_left = False

        async def hear() -> Message:
            nonlocal has_left
            message = await receive()
            # It comes after a whole answer, too. Before that, what is sent reaches nobody.
            has_left = has_left or (message["type"] == "http.disconnect" and not is_whole)
            return message

        async def note(message: Message) -> None:
            nonlocal status, is_whole
            status = message.get("status", status)
            await send(message)
            is_whole = message["type"] == "http.response.body" and not message.get("more_body")

        try:
            await self._app(scope, hear, note)
        except asyncio.CancelledError:  # by the server, which stops
            failure = "  ended in the middle"
        except Exception as error:
            failure = f"  failed: {type_and_place(error)}"
            if not status:
                await as_failure(error).response()(scope, receive, note)
        else:
            failure = "  the client left" if has_left or not is_whole else ""
        finally:
            route = route_of(scope)
            self._count(route, status)
            if failure or route not in QUIET or status not in GOOD:
                seconds = time.monotonic() - started
                log(_line(scope["method"], route, status, state.get("usage"), seconds) + failure)


def route_of(scope: Scope) -> str:
    """Return the path of a request as its route has it: there are few of them."""
    path = getattr(scope.get("route"), "path", None)
    if path is None and scope["path"] in QUIET:
        return str(scope["path"])
    return WEB if str(path).startswith(f"{WEB}/") else path or "other"


def _line(method: str, route: str, status: int, usage: Usage | None, seconds: float) -> str:
    counts = ""
    if usage:
        tokens = usage.count()
        read, written = tokens["prompt_tokens"], tokens["completion_tokens"]
        counts = f"  prompts {usage.prompts}, tokens {read} in, {written} out"
    known = method if method in METHODS else "other"
    return f"{known} {route} {status}{counts}  {seconds:.3f} s"
