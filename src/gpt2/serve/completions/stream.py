"""How are the texts of a request streamed? As server-sent events, one write for what a step brings.

While the client does not read, the write waits; what the steps bring meanwhile is one chunk then.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gpt2.serve.completions.choice import Choice
from gpt2.serve.completions.request import StreamOptions
from gpt2.serve.completions.texts import RequestTexts
from gpt2.serve.errors import ApiError
from gpt2.serve.wire_format import EVENT_HEADERS, EVENT_STREAM, compact

DONE = "data: [DONE]\n\n"


class EventStream(Response):
    """The streamed answer to a request for completions.

    Args:
        texts: Of the request.
        choices: Made of them.
        head: What all chunks have in common.
        usage: Counts the tokens so far.
        options: Which chunks have these counts.
    """

    media_type = EVENT_STREAM

    def __init__(
        self,
        texts: RequestTexts,
        choices: Sequence[Choice],
        head: Mapping[str, Any],
        usage: Callable[[], dict[str, int]],
        options: StreamOptions,
    ) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers(EVENT_HEADERS)
        self._texts = texts
        self._choices = choices
        self._usage = usage
        self._options = options
        self._begin = f'data: {compact(head)[:-1]},"choices":['

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events; see ASGI."""
        headers = self.raw_headers
        async with self._texts.watched(receive):
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            async for events in self._events():
                body = events.encode()
                await send({"type": "http.response.body", "body": body, "more_body": True})
            await send({"type": "http.response.body", "body": DONE.encode(), "more_body": False})

    async def _events(self) -> AsyncIterator[str]:
        """Yield what each step brings."""
        try:
            while not all(choice.has_ended for choice in self._choices):
                await self._texts.changed()
                if parts := [part for choice in self._choices if (part := choice.take())]:
                    end = self._end()
                    yield "".join([self._begin + compact(part) + end for part in parts])
        except ApiError as error:  # the status has been sent: the client's library raises this
            yield f"data: {compact(error.body())}\n\n"
            return
        if self._options.include_usage:
            yield self._begin + self._end(is_last=True)

    def _end(self, *, is_last: bool = False) -> str:
        """Return what ends a chunk after its choices."""
        if not self._options.include_usage:
            return "]}\n\n"
        is_counted = is_last or self._options.continuous_usage_stats
        return f'],"usage":{compact(self._usage() if is_counted else None)}}}\n\n'
