import threading
from collections.abc import Iterator

import pytest

from gpt2.prepare.in_order import in_order


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(threads: int) -> None:
    first_waits = threading.Event()

    def work(item: int) -> int:
        if item == 0 and threads > 1:
            first_waits.wait(5)  # until a later one is done
        elif item == 1:
            first_waits.set()
        return item * item

    assert list(in_order(work, range(50), threads)) == [k * k for k in range(50)]


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_of_drawing_comes_after_all_results_before_it(threads: int) -> None:
    def items() -> Iterator[int]:
        yield from range(7)
        raise OSError("no more")

    seen = []
    with pytest.raises(OSError, match="no more"):
        for result in in_order(str, items(), threads):
            seen.append(result)
    assert seen == [str(k) for k in range(7)]


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_of_work_comes_after_all_results_before_it(threads: int) -> None:
    seen = []
    with pytest.raises(ZeroDivisionError):
        for result in in_order(lambda item: 6 // (3 - item), range(9), threads):
            seen.append(result)
    assert seen == [2, 3, 6]


def test_few_items_are_drawn_ahead() -> None:
    drawn = 0

    def items() -> Iterator[int]:
        nonlocal drawn
        for k in range(1000):
            drawn += 1
            yield k

    results = in_order(abs, items(), 2)
    for _ in range(10):
        next(results)
    assert drawn <= 10 + 4
    results.close()


def test_there_may_be_no_items() -> None:
    assert list(in_order(abs, [], 2)) == []
