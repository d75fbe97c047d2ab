"""Threads that wait for work, and do it together."""

import threading
import weakref
from collections.abc import Callable


class Threads:
    """This thread and others, which run one function at a time, each with its own number.

    Args:
        count: Threads, this one included.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._shared = _Shared()
        self._starts = [threading.Semaphore(0) for _ in range(count - 1)]
        for number, start in enumerate(self._starts, 1):
            args = (self._shared, start, number)
            threading.Thread(target=_work, args=args, daemon=True, name="gpt2-cpu").start()
        weakref.finalize(self, _stop, self._shared, self._starts)

    def run(self, work: Callable[[int], object]) -> None:
        """Call `work` with the numbers 0 to count - 1, each in its thread; 0 in this one.

        `work` must not return before all have come to its end, and must not fail in one alone.
        """
        self._shared.work = work
        for start in self._starts:
            start.release()
        work(0)


class _Shared:
    work: Callable[[int], object] | None = None


def _work(shared: _Shared, start: threading.Semaphore, number: int) -> None:
    while True:
        start.acquire()
        if shared.work is None:
            return
        shared.work(number)


def _stop(shared: _Shared, starts: list[threading.Semaphore]) -> None:
    shared.work = None
    for start in starts:
        start.release()
