"""Where does long work run, so that it does not block the event loop? In a thread."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

LONG = 20_000  # characters or tokens; so many take some milliseconds

Result = TypeVar("Result")


async def in_thread_if_long(size: int, work: Callable[[], Result]) -> Result:
    """Return what `work` returns; run it in a thread if it is long.

    Args:
        size: Characters or tokens that it works on.
        work: What to run; it must be thread-safe.
    """
    return await asyncio.to_thread(work) if size > LONG else work()
