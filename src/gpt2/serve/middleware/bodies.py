"""Which bodies does the server read? JSON, of a limited size, within a limited time."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt2.serve.errors import ApiError

MOST_SECONDS = 60.0  # for a body to come; a client that sends no faster holds its connection
READS_BODY = "reads_body"  # in the state of a request whose body has not come yet
CLOSE = {"Connection": "close"}  # what is left of the body is not read


class Bodies:
    """Reads the body of a request, and passes the request on.

    Args:
        app: Takes the request, with its body in one message.
        most_bytes: Of a body.
        most_seconds: For a body to come.
    """

    def __init__(self, app: ASGIApp, most_bytes: int, most_seconds: float = MOST_SECONDS) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._most_seconds = most_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        headers = Headers(scope=scope)
        if not _has_body(headers):
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        failure: ApiError | None = None
        try:
            _check_type(headers)
            self._check_size(int(headers.get("Content-Length", 0)))
            state[READS_BODY] = True
            async with asyncio.timeout(self._most_seconds):
                first: Message | None = await self._whole(receive)
        except TimeoutError:
            failure = ApiError(408, f"the body must come within {self._most_seconds:g} s")
        except ApiError as error:
            failure = error
        state.pop(READS_BODY, None)
        if failure:
            await failure.response(CLOSE)(scope, receive, send)
            return

        async def receive_next() -> Message:
            nonlocal first
            if first is None:
                return await receive()
            message, first = first, None
            return message

        await self._app(scope, receive_next, send)

    async def _whole(self, receive: Receive) -> Message:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":  # the client has gone
                return message
            body += message.get("body", b"")
            self._check_size(len(body))
            if not message.get("more_body", False):
                return {"type": "http.request", "body": bytes(body), "more_body": False}

    def _check_size(self, size: int) -> None:
        if size > self._most_bytes:
            raise ApiError(
                413,
                f"the body must have at most {self._most_bytes:,} bytes, got {size:,} or more",
                code="body_too_large",
            )


def _has_body(headers: Headers) -> bool:
    return headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in headers


def _check_type(headers: Headers) -> None:
    """Refuse what a page of another site may send without asking first, a form or plain text."""
    given = headers.get("Content-Type", "")
    if given.partition(";")[0].strip().lower() != "application/json":
        raise ApiError(
            415,
            f"the header Content-Type must be application/json, got {given!r:.80}",
            code="unsupported_media_type",
        )
