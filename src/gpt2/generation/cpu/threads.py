"""Threads that wait for work, and do it together."""

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from operator import call

import numpy as np
from numpy.typing import NDArray


class Threads:
    """This thread and others, which run one function at a time, each with its own number.

    Args:
        count: Threads, this one included.
    Attributes:
        arrived: A counter by which they wait for each other, 0 at the beginning; int64, (1,).
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.arrived = np.zeros(1, np.int64)
        self._start()

    def run(self, work: Callable[[int], object]) -> None:
        """Call `work` with the numbers 0 to count - 1, each in its thread; 0 in this one.

        Args:
            work: Ends with all waiting for each other, and raises no error. Compiled, it is not
                interrupted in this thread, for then the others would wait for it for ever.
        """
        if self._process != os.getpid():
            self._start()  # a fork has this thread alone
        self._shared.work = work
        # One call in C: Ctrl-C is noticed after it, and not between the others' start and ours.
        calls: list[Callable[[], object]] = [*self._releases, partial(work, 0)]
        deque(map(call, calls), maxlen=0)

    def _start(self) -> None:
        self._process = os.getpid()
        self.arrived[0] = 0
        self._shared = _Shared(self.arrived)
        starts = [threading.Lock() for _ in range(self.count - 1)]
        self._releases = [start.release for start in starts]
        for number, start in enumerate(starts, 1):
            start.acquire()
            args = self._shared, start, number
            threading.Thread(target=_work, args=args, daemon=True, name="gpt2-cpu").start()
        weakref.finalize(self, _stop, self._shared, self._releases)


class _Shared:
    """What the others are to do, nothing any more if it is None; and what they must not outlive."""

    def __init__(self, arrived: NDArray[np.int64]) -> None:
        self.work: Callable[[int], object] | None = None
        self.arrived = arrived


def _work(shared: _Shared, start: threading.Lock, number: int) -> None:
    while True:
        start.acquire()
        if shared.work is None:
            return
        shared.work(number)


def _stop(shared: _Shared, releases: list[Callable[[], None]]) -> None:
    shared.work = None
    for release in releases:
        release()
