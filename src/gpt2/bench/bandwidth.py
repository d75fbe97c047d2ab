"""How fast the processor reads memory, which bounds decoding: a token reads every weight once."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

ARRAY_BYTES = 2**29  # far more than caches hold
TRIES = 5
SUMS = 64  # kept side by side: enough additions that do not wait for each other


def read_bandwidth(threads: int, *, array_bytes: int = ARRAY_BYTES) -> float:
    """Return the bytes a second at which all threads together read memory, the best of several.

    Args:
        threads: Each sums a part of its own of one array of float32.
        array_bytes: Size of the array.
    """
    parts = np.array_split(np.ones(array_bytes // 4, np.float32), threads)
    _sum(parts[0][:SUMS])  # compiles
    with ThreadPoolExecutor(threads) as pool:
        best = min(_seconds(pool, parts) for _ in range(TRIES))
    return sum(part.nbytes for part in parts) / best


def _seconds(pool: ThreadPoolExecutor, parts: "list[NDArray[np.float32]]") -> float:
    started = time.perf_counter()
    for _ in pool.map(_sum, parts):
        pass
    return time.perf_counter() - started


@njit(nogil=True, fastmath=True)  # additions in any order
def _sum(values: Any) -> Any:
    sums = np.zeros(SUMS, np.float32)
    for i in range(0, len(values) - SUMS + 1, SUMS):
        for j in range(SUMS):
            sums[j] += values[i + j]
    return sums.sum()
