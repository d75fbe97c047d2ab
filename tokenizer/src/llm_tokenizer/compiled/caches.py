"""Look up: a piece that was met before has its ids in a cache. A hit has compared every byte.

Near, for pieces of up to 15 bytes that make up to 16 bytes of ids: most of all. A set is 64 bytes,
one line of the processor's cache, with room for two pieces:

    words 0, 1   the first piece, as its key: its bytes, and in the top byte half its bytes of ids
                 << 4 | its size; or 0, a size that no piece has, if its ids are in far
    words 2, 3   the second piece
    words 4, 5   ids of the first piece
    words 6, 7   ids of the second piece

Far, for the others. A set is two entries, or one of twice the size:

    word 0       words of the entry << 48 | bytes of ids << 32 | bytes of the piece
    then         the piece in whole words, then its ids

In both a new piece takes the first place, and what was there takes the second.
"""

import numpy as np

from llm_tokenizer.compiled.instructions import copy_two_words, get64, load_word, prefetch, put64
from llm_tokenizer.compiled.jit import compiled, inlined
from llm_tokenizer.compiled.layouts import (
    FAR_BITS,
    FAR_ENTRY,
    GAVE_UP,
    MIX_1,
    MIX_2,
    NEAR_BITS,
    NEAR_LONGEST,
    ZERO,
    Tables,
    U,
    Workspace,
    signed,
)
from llm_tokenizer.compiled.merge import merge
from llm_tokenizer.compiled.pieces import (
    are_equal,
    copy_words,
    hash_bytes,
    round_up,
    store_piece,
)

SIZE_BITS = U(0xF << 56)  # of word 1 of a key
NO_PIECE = U(2**60 - 1)  # a key that none has, as no piece of 15 bytes ends in 0xFF

# --- near ----------------------------------------------------------------------------------------


@inlined
def _near_key(piece: int, size: int, tables: Tables) -> tuple[np.uint64, np.uint64]:
    """Return a piece as the two words of an entry, with a count of 0."""
    row = tables.key_masks + 32 * size
    return (
        load_word(piece) & get64(row, 0),
        load_word(piece + 8) & get64(row, 1) | get64(row, 2),
    )


@inlined
def _near_set(key_1: np.uint64, key_2: np.uint64, space: Workspace) -> int:
    hashed = (key_1 * MIX_1) ^ (key_2 * MIX_2)
    return space.near + signed(hashed >> U(64 - NEAR_BITS - 6) & U(64 * (2**NEAR_BITS - 1)))


@inlined
def look_near(piece: int, size: int, entry: int, tables: Tables, space: Workspace) -> None:
    """Write a piece's key and set to its entry in the batch, and have the set loaded meanwhile."""
    if size <= NEAR_LONGEST:
        key_1, key_2 = _near_key(piece, size, tables)
        near = _near_set(key_1, key_2, space)
        prefetch(near)
        put64(entry, 1, U(near))
        put64(entry, 2, key_1)
        put64(entry, 3, key_2)
    else:
        put64(entry, 1, U(space.near))
        put64(entry, 3, NO_PIECE)


@inlined
def take_near(entry: int, out: int) -> tuple[bool, int]:
    """Write the ids of a piece in the batch if near has them: 16 bytes, whatever their number."""
    near, key_1, key_2 = signed(get64(entry, 1)), get64(entry, 2), get64(entry, 3)
    in_first = get64(near, 0) ^ key_1 | (get64(near, 1) ^ key_2) << U(4)  # 0 if it is there
    in_second = get64(near, 2) ^ key_1 | (get64(near, 3) ^ key_2) << U(4)
    if min(in_first, in_second) != ZERO:  # one branch for both: which of them is a coin toss
        return False, out
    near += 16 - signed(U(in_first == ZERO) << U(4))  # 16 bytes on if it is the second
    copy_two_words(near + 32, out)
    return True, out + 2 * signed(get64(near, 1) >> U(60))


@inlined
def _enter_near(near: int, key_1: np.uint64, key_2: np.uint64, ids: int) -> None:
    for word in (0, 1, 4, 5):
        put64(near, word + 2, get64(near, word))
    put64(near, 0, key_1)
    put64(near, 1, key_2)
    copy_two_words(ids, near + 32)


# --- far -----------------------------------------------------------------------------------------


@inlined
def _holds(entry: int, piece: int, size: int) -> bool:
    return signed(get64(entry, 0) & U(2**32 - 1)) == size and are_equal(piece, entry + 8, size)


@inlined
def _is_large(entry: int) -> bool:
    return get64(entry, 0) >> U(48) > U(FAR_ENTRY // 8)


@inlined
def _enter_far(far: int, piece: int, size: int, ids: int, size_of_ids: int) -> None:
    room = 8 + round_up(size) + round_up(size_of_ids)
    if room > 2 * FAR_ENTRY:
        return
    if _is_large(far):
        put64(far + FAR_ENTRY, 0, ZERO)  # it has the middle of a piece, and becomes empty
    elif room <= FAR_ENTRY:
        copy_words(far, far + FAR_ENTRY, FAR_ENTRY)
    put64(far, 0, U(room // 8) << U(48) | U(size_of_ids) << U(32) | U(size))
    store_piece(piece, size, far + 8)
    copy_words(ids, far + 8 + round_up(size), size_of_ids)


@inlined
def _far_set(piece: int, size: int, space: Workspace) -> int:
    return space.far + 2 * FAR_ENTRY * signed(hash_bytes(piece, size) >> U(64 - FAR_BITS))


@inlined
def _take_far(far: int, piece: int, size: int, out: int) -> int:
    entry = far if _holds(far, piece, size) or _is_large(far) else far + FAR_ENTRY
    if not _holds(entry, piece, size):
        return GAVE_UP
    size_of_ids = signed(get64(entry, 0) >> U(32) & U(2**16 - 1))
    copy_words(entry + 8 + round_up(size), out, size_of_ids)
    return out + size_of_ids


@compiled
def encode_piece(
    piece: int, size: int, out: int, width: int, tables: Tables, space: Workspace
) -> int:
    """Encode a piece that near does not hold; return as `merge` does, write up to 14 bytes more."""
    key_1, key_2, near, marked = ZERO, ZERO, space.near, True
    if size <= NEAR_LONGEST:
        key_1, key_2 = _near_key(piece, size, tables)
        near = _near_set(key_1, key_2, space)
        mark = key_2 & ~SIZE_BITS
        marked = (get64(near, 0) == key_1) & (get64(near, 1) == mark) or (
            get64(near, 2) == key_1
        ) & (get64(near, 3) == mark)
    if marked:
        end = _take_far(_far_set(piece, size, space), piece, size, out)
        if end != GAVE_UP:
            return end
    end = merge(piece, size, out, width, tables, space)
    if size <= NEAR_LONGEST and end - out <= 16:
        _enter_near(near, key_1, key_2 | U((end - out) // 2) << U(60), out)
    elif end != GAVE_UP:
        _enter_far(_far_set(piece, size, space), piece, size, out, end - out)
        if size <= NEAR_LONGEST and not marked:
            _enter_near(near, key_1, key_2 & ~SIZE_BITS, out)
    return end
