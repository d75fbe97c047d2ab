"""Work on items with several threads; the results come in the order of the items."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True)
class _Outcome(Generic[Out]):
    number: int
    results: tuple[Out, ...] = ()  # none where the items end
    error: Exception | None = None  # of drawing the item or of working on it


def in_order(work: Callable[[In], Out], items: Iterable[In], threads: int) -> Iterator[Out]:
    """Give `work(item)` for each item, in order.

    A thread draws an item and works on it, then draws the next; drawing is done by one at a time.
    So the items may be a generator that itself does work, such as reading a file. At most
    2 * threads of them are drawn ahead of what has been given.

    Args:
        work: Called in several threads at once.
        items: An error that they raise is raised here, too, after all results before it.
        threads: How many; with 1 no thread is started.

    >>> list(in_order(abs, [-3, -1, -2], threads=2))
    [3, 1, 2]
    """
    if threads == 1:
        yield from map(work, items)
        return
    drawing, drawn, iterator = Lock(), 0, iter(items)

    def draw_and_work() -> _Outcome[Out]:
        nonlocal drawn
        with drawing:
            number = drawn
            drawn += 1
            try:
                item = next(iterator)
            except StopIteration:
                return _Outcome(number)
            except Exception as error:
                return _Outcome(number, error=error)
        try:
            return _Outcome(number, (work(item),))
        except Exception as error:
            return _Outcome(number, error=error)

    pool = ThreadPoolExecutor(threads)
    try:
        running = {pool.submit(draw_and_work) for _ in range(2 * threads)}
        early: dict[int, _Outcome[Out]] = {}
        number = 0
        while True:
            while number not in early:
                done: set[Future[_Outcome[Out]]]
                done, running = wait(running, return_when=FIRST_COMPLETED)
                early |= {outcome.number: outcome for outcome in (f.result() for f in done)}
            outcome = early.pop(number)
            if outcome.error:
                raise outcome.error
            if not outcome.results:
                return
            running.add(pool.submit(draw_and_work))
            yield outcome.results[0]
            number += 1
    finally:  # not waiting: a thread may be in a long download when Ctrl-C ends this
        pool.shutdown(wait=False, cancel_futures=True)
