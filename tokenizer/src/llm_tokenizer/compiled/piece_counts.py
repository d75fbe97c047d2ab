"""How often each piece occurs in texts: what is counted for training, in a table and a store.

The table is a hash table of places in the store; the store has an entry for each piece: its count,
its size, and its bytes in whole words.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from llm_tokenizer.compiled.instructions import get64, put64
from llm_tokenizer.compiled.jit import compiled, inlined, kept
from llm_tokenizer.compiled.layouts import (
    ALL,
    GAVE_UP,
    ONE,
    ZERO,
    Counts,
    Tables,
    U,
    signed,
)
from llm_tokenizer.compiled.pieces import are_equal, hash_bytes, round_up, store_piece
from llm_tokenizer.compiled.scan import for_each_piece

Array = npt.NDArray[Any]

PLACE_MASK = U(2**36 - 1)  # the part of a slot that is a place
FIRST_ENTRY = 8  # the first place in the store, as 0 is an empty slot
HEAD = 16  # bytes of an entry before those of the piece


@inlined
def _no_look(_piece: int, _size: int, _entry: int, _tables: Tables, _counts: Counts) -> None:
    return


@inlined
def _take_none(_entry: int, out: int) -> tuple[bool, int]:
    return False, out


@inlined
def _size_of(place: int, store: int) -> int:
    """Return how many bytes the piece of an entry has."""
    return signed(get64(store + place, 1))


@inlined
def _end_of(place: int, store: int) -> int:
    """Return the place of the next entry."""
    return place + HEAD + round_up(_size_of(place, store))


@inlined
def _next_slot(slot: np.uint64, counts: Counts) -> np.uint64:
    return (slot + ONE) & (ALL >> U(counts.table_shift))


@compiled
def _count_piece(
    piece: int, size: int, out: int, _width: int, _tables: Tables, counts: Counts
) -> int:
    """Count a piece; return `out`, or GAVE_UP if there is no room for it."""
    hashed = hash_bytes(piece, size)
    slot = hashed >> U(counts.table_shift)
    found = get64(counts.table, slot)
    while found != ZERO:
        if (found ^ hashed) & ~PLACE_MASK == ZERO:
            entry = counts.store + 8 * signed(found & PLACE_MASK)
            if signed(get64(entry, 1)) == size and are_equal(piece, entry + HEAD, size):
                put64(entry, 0, get64(entry, 0) + ONE)
                return out
        slot = _next_slot(slot, counts)
        found = get64(counts.table, slot)
    place, entries = signed(get64(counts.used, 0)), get64(counts.used, 1)
    is_full = U(2) * entries > ALL >> U(counts.table_shift)
    if is_full or place + HEAD + round_up(size) > counts.size:
        return GAVE_UP
    put64(counts.store + place, 0, ONE)
    put64(counts.store + place, 1, U(size))
    store_piece(piece, size, counts.store + place + HEAD)
    put64(counts.table, slot, (hashed & ~PLACE_MASK) | U(place >> 3))
    put64(counts.used, 0, U(_end_of(place, counts.store)))
    put64(counts.used, 1, entries + ONE)
    return out


_count_pieces = for_each_piece(_no_look, _take_none, _count_piece)


@kept
def count(address: int, end: int, tables: Tables, counts: Counts) -> int:
    """Count the pieces of a text; return where it stopped: at its end, or as room ran out."""
    return _count_pieces(address, end, 0, 0, tables, counts)[0]


@kept
def fill_table(counts: Counts) -> None:
    """Enter what the store holds in the empty table."""
    place = FIRST_ENTRY
    while place < signed(get64(counts.used, 0)):
        hashed = hash_bytes(counts.store + place + HEAD, _size_of(place, counts.store))
        slot = hashed >> U(counts.table_shift)
        while get64(counts.table, slot) != ZERO:
            slot = _next_slot(slot, counts)
        put64(counts.table, slot, (hashed & ~PLACE_MASK) | U(place >> 3))
        place = _end_of(place, counts.store)


@kept
def read_store(counts: Counts, content: Array, bounds: Array, frequencies: Array) -> None:
    """Copy the pieces, where each begins and ends, and their counts out of the store."""
    place, start = FIRST_ENTRY, 0
    for k in range(len(frequencies)):
        frequencies[k] = signed(get64(counts.store + place, 0))
        bounds[k] = start
        for j in range(_size_of(place, counts.store)):
            content[start + j] = np.uint8(
                get64(counts.store + place + HEAD, j >> 3) >> U(8 * (j & 7))
            )
        start += _size_of(place, counts.store)
        place = _end_of(place, counts.store)
    bounds[len(frequencies)] = start
