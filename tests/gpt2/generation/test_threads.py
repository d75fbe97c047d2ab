import gc
import os
import threading

import pytest

from gpt2.generation.cpu.threads import Threads


def meet(threads: Threads) -> set[tuple[int, str]]:
    """Return the number and name of each thread that works; all wait for each other."""
    seen: set[tuple[int, str]] = set()
    barrier = threading.Barrier(threads.count)

    def work(number: int) -> None:
        seen.add((number, threading.current_thread().name))
        barrier.wait(timeout=60)

    threads.run(work)
    return seen


@pytest.mark.parametrize("count", [1, 2, 5])
def test_each_number_has_a_thread_and_the_first_is_ours(count: int) -> None:
    threads = Threads(count)
    for _ in range(3):
        seen = meet(threads)
        assert {number for number, _ in seen} == set(range(count))
        assert (0, threading.current_thread().name) in seen


def test_the_others_end_when_nobody_needs_them_any_more() -> None:
    before = set(threading.enumerate())
    threads = Threads(4)
    assert len(meet(threads)) == 4
    others = set(threading.enumerate()) - before
    assert len(others) == 3
    del threads
    gc.collect()
    for other in others:
        other.join(timeout=60)
        assert not other.is_alive()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_has_threads_of_its_own() -> None:
    threads = Threads(3)
    meet(threads)
    child = os.fork()
    if child == 0:
        os._exit(0 if len(meet(threads)) == 3 else 1)
    assert os.waitpid(child, 0)[1] == 0
