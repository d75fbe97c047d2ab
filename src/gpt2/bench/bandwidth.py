"""How fast the processor reads memory, which bounds decoding: a token reads every weight once."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from gpt2.generation.cpu.instructions import LANES, total

if TYPE_CHECKING:
    from numpy.typing import NDArray

ARRAY_BYTES = 2**29  # far more than caches hold
TRIES = 5


def read_bandwidth(threads: int, *, array_bytes: int = ARRAY_BYTES) -> float:
    """Return the bytes a second at which all threads together read memory, the best of several.

    Args:
        threads: Each sums a part of its own of one array of float32.
        array_bytes: Size of the array.
    """
    count = array_bytes // 4 // threads // LANES * LANES
    parts = np.ones((threads, count), np.float32)
    _sum(parts.ctypes.data, LANES)  # compiles
    with ThreadPoolExecutor(threads) as pool:
        best = min(_seconds(pool, parts) for _ in range(TRIES))
    return parts.nbytes / best


def _seconds(pool: ThreadPoolExecutor, parts: "NDArray[np.float32]") -> float:
    started = time.perf_counter()
    for _ in pool.map(lambda part: _sum(part.ctypes.data, len(part)), parts):
        pass
    return time.perf_counter() - started


@njit(nogil=True)
def _sum(address: Any, count: Any) -> Any:
    return total(address, count)
