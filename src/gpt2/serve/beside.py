"""Where is long work done, so that others are served meanwhile? In a thread beside the loop."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

LONG = 20_000  # characters or tokens: those take some milliseconds

Result = TypeVar("Result")


async def beside_if_long(size: int, work: Callable[[], Result]) -> Result:
    """Return what `work` returns, without holding up the event loop for long.

    Args:
        size: Characters or tokens that it works on.
        work: What to do; any thread may.
    """
    return await asyncio.to_thread(work) if size > LONG else work()
