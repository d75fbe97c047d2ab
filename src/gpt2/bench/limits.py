"""What a processor can do: reads of memory bound decoding, products bound reading a prompt."""

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numba import njit

from gpt2.generation.cpu.instructions import (
    BFLOAT16,
    FLOAT32,
    GROUP,
    INT4,
    INT8,
    LANES,
    MOST_ROWS,
    multiply_bfloat16,
    multiply_float32,
    multiply_int4,
    multiply_int8,
    panel_bytes,
    total,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

ARRAY_BYTES = 2**29  # far more than caches hold
TRIES = 5


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use so many threads while the context lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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


# A product that stays in a processor's own cache: rows of activations, inputs, panels of weights.
ROWS, INPUTS, PANELS = 8 * MOST_ROWS, 512, 4
MULTIPLY = {
    "float32": (FLOAT32, multiply_float32),
    "bfloat16": (BFLOAT16, multiply_bfloat16),
    "int8": (INT8, multiply_int8),
    "int4": (INT4, multiply_int4),
}


def product_peak(precision: str, threads: int) -> float:
    """Return the operations a second of our products, when all is in the caches, the best of some.

    Args:
        precision: Of the weights, a key of MULTIPLY.
        threads: That compute at the same time.
    """
    kind, multiply = MULTIPLY[precision]
    depth = INPUTS // GROUP.get(kind, 1)
    size = panel_bytes(kind, INPUTS)
    repeats = 2**31 // (2 * ROWS * INPUTS * LANES)  # 2 GFLOP: some milliseconds

    @njit(nogil=True)
    def compute(x: Any, weights: Any, out: Any) -> None:
        for i in range(repeats):
            panel = weights.ctypes.data + i % PANELS * size
            multiply(ROWS, x.ctypes.data, x.strides[0], panel, depth, out.ctypes.data, 4 * LANES)

    def arrays() -> tuple[Any, ...]:
        out = np.zeros((ROWS, LANES), np.float32)
        return np.zeros((ROWS, INPUTS + 16), np.float32), np.zeros(PANELS * size, np.uint8), out

    work = [arrays() for _ in range(threads)]
    compute(*work[0])  # compiles
    best = math.inf
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(TRIES):
            started = time.perf_counter()
            list(pool.map(lambda each: compute(*each), work))
            best = min(best, time.perf_counter() - started)
    return threads * repeats * 2 * ROWS * INPUTS * LANES / best
