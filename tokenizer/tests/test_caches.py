"""The far cache: what a set holds after pieces of both sizes."""

import struct

import numba
import numpy as np

from llm_tokenizer.compiled.caches import _enter_far, _take_far
from llm_tokenizer.compiled.layouts import FAR_ENTRY, GAVE_UP


@numba.njit
def enter(far: int, piece: int, size: int, ids: int) -> None:
    _enter_far(far, piece, size, ids, 8)


@numba.njit
def take(far: int, piece: int, size: int, out: int) -> int:
    return _take_far(far, piece, size, out)  # type: ignore[no-any-return]


def test_a_piece_is_not_found_in_what_a_small_one_has_left_of_a_large_one() -> None:
    wanted = b"=" * 16
    like_an_entry = struct.pack("<IHH", len(wanted), 4, 4) + wanted  # where a second one begins
    far, out = np.zeros(2 * FAR_ENTRY, np.uint8), np.zeros(64, np.uint8)
    for piece in (b"-" * (FAR_ENTRY - 8) + like_an_entry, b"*" * 16):
        text = np.frombuffer(piece, np.uint8)
        enter(far.ctypes.data, text.ctypes.data, len(piece), out.ctypes.data)
    text = np.frombuffer(wanted, np.uint8)
    assert take(far.ctypes.data, text.ctypes.data, len(wanted), out.ctypes.data) == GAVE_UP
