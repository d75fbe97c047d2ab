"""How long are the texts of a request written? Until they end, time is up, or nobody listens."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from starlette.types import Receive

from gpt2.serve.errors import as_failure
from gpt2.serve.worker import Order, Worker, Writing


class RequestTexts:
    """The texts of one request while they are written.

    Args:
        worker: Writes them.
        orders: What to write.
        time_limit: Seconds after which they end.
    Raises:
        QueueFullError, InputError: See `Worker.submit`.
    """

    def __init__(self, worker: Worker, orders: Sequence[Order], time_limit: float) -> None:
        self.timed_out = False
        self._worker = worker
        self._time_limit = time_limit
        self._changed = asyncio.Event()
        self.writings: list[Writing] = worker.submit(orders)
        for writing in self.writings:
            writing.changed = self._changed  # of a step, one wake-up for all

    async def changed(self) -> None:
        """Wait for what a step brings, or has brought since the last time.

        Raises:
            ApiError: The engine failed.
        """
        await self._changed.wait()
        self._changed.clear()
        for writing in self.writings:
            if writing.error is not None:
                raise as_failure(writing.error) from writing.error

    async def ended(self) -> None:
        """Wait until all texts have ended.

        Raises:
            ApiError: The engine failed.
        """
        await self.changed()
        while not all(writing.has_ended for writing in self.writings):
            await self.changed()

    @asynccontextmanager
    async def watched(self, receive: Receive) -> AsyncIterator[None]:
        """End the texts at the time limit, when the client has gone, and when the context ends.

        Args:
            receive: The request's, whose body has been read.
        """
        timer = asyncio.get_running_loop().call_later(self._time_limit, self._end_in_time)
        watcher = asyncio.create_task(self._end_when_closed(receive))
        try:
            yield
        finally:
            timer.cancel()
            watcher.cancel()
            self._worker.cancel(self.writings)

    def _end_in_time(self) -> None:
        self.timed_out = True
        self._worker.cancel(self.writings)

    async def _end_when_closed(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self._worker.cancel(self.writings)
