"""Merge one piece: neighbours with the lowest rank first, as `merging.merge` does.

A token keeps the place of its first byte, and a bit in `live`. A pair has the place of its left
token, and as its key its rank above its place: the lowest key is the pair to merge next. A merge
changes two keys, those of the new token and its neighbours; the lowest of the others is found
meanwhile.
"""

import numpy as np
import numpy.typing as npt

from llm_tokenizer.compiled.instructions import (
    get8,
    get16,
    get32,
    get64,
    is_unlikely,
    leading_zeros,
    lowest_where,
    put16,
    put32,
    put64,
    trailing_zeros,
)
from llm_tokenizer.compiled.jit import compiled, inlined
from llm_tokenizer.compiled.layouts import (
    ALL,
    GAVE_UP,
    ID_BITS,
    ID_MASK,
    MIX_1,
    MIX_2,
    NO_KEY,
    NO_TOKEN,
    ONE,
    PLACE_BITS,
    TAG_MASK,
    ZERO,
    Tables,
    U,
    Workspace,
    low_bits,
    signed,
)

FEW = 60  # bytes merged in one word of `live`, which needs a bit at either end, too
MANY = 2**PLACE_BITS  # bytes merged at once at most: a key holds no larger place
IDS = 4  # bytes: the first of `ids` is that of the end before the first byte


# --- the merge of a pair -------------------------------------------------------------------------


@inlined
def hash_pair(pair: np.uint64) -> np.uint64:
    """Return the hash of left id << ID_BITS | right id."""
    return pair * MIX_1


def hash_pairs(pairs: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return `hash_pair` of each, for Python."""
    return pairs * MIX_1


@inlined
def tag_of(hashed: np.uint64) -> np.uint32:
    """Return the bits of a hash that stand in its slot."""
    return np.uint32((hashed >> U(ID_BITS)) & TAG_MASK)


@inlined
def slot_of(hashed: np.uint64, displacement: int, tables: Tables) -> np.uint64:
    """Return the slot to which a displacement leads a hash."""
    return ((hashed ^ U(displacement)) * MIX_2) >> U(tables.slot_shift)


@inlined
def _merge_of(
    left: np.uint32, right: np.uint32, place: int, tables: Tables
) -> tuple[np.uint32, np.uint32]:
    """Return the key of a pair at a place, or NO_KEY, and the id that its merge makes.

    About half of the pairs have a merge, so that a branch would often be mispredicted. The tag of
    the hash decides without one; where a tag agrees by chance, the pair itself shows it.
    """
    pair = U(left) << U(ID_BITS) | U(right)
    hashed = hash_pair(pair)
    displacement = get16(tables.displacements, hashed >> U(tables.bucket_shift))
    found = get32(tables.slots, slot_of(hashed, displacement, tables))
    rank = found & np.uint32(ID_MASK)
    none = np.uint32(0) - np.uint32(found >> np.uint32(ID_BITS) != tag_of(hashed))  # all bits, or 0
    merge = get64(tables.merges, rank & ~none)
    if is_unlikely((merge >> U(ID_BITS) != pair) & (none == np.uint32(0))):
        none = NO_KEY
    key = rank << np.uint32(PLACE_BITS) | np.uint32(place) | none
    return np.uint32(key), np.uint32(merge & ID_MASK)


# --- few bytes -----------------------------------------------------------------------------------


@inlined
def _lowest(keys: int, live: np.uint64, size: int) -> np.uint32:
    """Return the lowest key of the live places, which are `size` and one at either end."""
    lowest = lowest_where(keys, live)
    if size > 30:
        lowest = min(lowest, lowest_where(keys + 4 * 32, live >> U(32)))
    return lowest


@compiled
def _merge_few(address: int, size: int, tables: Tables, space: Workspace) -> None:
    """Merge up to FEW bytes: `ids` holds the tokens, where `live` says.

    Byte k has place k + 1. At either end stands NO_TOKEN, which merges with nothing.
    """
    ids, keys, made = space.ids, space.keys, space.made
    for k in range(32 if size > 30 else 16):
        put64(keys, k, ALL)
    put32(ids, 0, NO_TOKEN)
    put32(ids, size + 1, NO_TOKEN)
    byte = U(get8(address, 0))
    put32(ids, 1, get32(tables.byte_ids, byte))
    for k in range(1, size):
        following = U(get8(address, k))
        put32(ids, k + 1, get32(tables.byte_ids, following))
        pair = get64(tables.byte_pairs, byte << U(8) | following)
        put32(keys, k, np.uint32(pair) | np.uint32(k))
        put32(made, k, np.uint32(pair >> U(32)))
        byte = following
    live = low_bits(size + 2)
    key = _lowest(keys, live, size)
    while key != NO_KEY:
        left = signed(key) & (MANY - 1)
        token = get32(made, left)
        put32(ids, left, token)
        rest = live >> U(left + 1)
        right = left + 1 + trailing_zeros(rest)
        after = left + 1 + trailing_zeros(rest & (rest - ONE))
        before = 63 - leading_zeros(live & low_bits(left))
        live &= ~(ONE << U(right))
        others = live & ~(ONE << U(left)) & ~(ONE << U(before))
        lowest = _lowest(keys, others, size)
        left_key, left_made = _merge_of(token, get32(ids, after), left, tables)
        before_key, before_made = _merge_of(get32(ids, before), token, before, tables)
        put32(keys, left, left_key)
        put32(made, left, left_made)
        put32(keys, before, before_key)
        put32(made, before, before_made)
        key = min(lowest, min(left_key, before_key))
    put64(space.live, 0, (live & low_bits(size + 1)) >> ONE)


# --- many bytes ----------------------------------------------------------------------------------


@inlined
def _lowest_key(block: int, live: np.uint64, space: Workspace) -> np.uint32:
    keys = space.keys + 4 * 64 * block
    return min(lowest_where(keys, live), lowest_where(keys + 4 * 32, live >> U(32)))


@inlined
def _next_live(place: int, blocks: int, live: int) -> int:
    """Return the next place where a token begins, or -1."""
    block = place >> 6
    rest = get64(live, block) & ((ALL - ONE) << U(place & 63))
    while rest == ZERO:
        block += 1
        if block == blocks:
            return -1
        rest = get64(live, block)
    return (block << 6) + trailing_zeros(rest)


@inlined
def _previous_live(place: int, live: int) -> int:
    """Return the last place before `place` where a token begins, or -1."""
    block = place >> 6
    rest = get64(live, block) & low_bits(place & 63)
    while rest == ZERO:
        block -= 1
        if block < 0:
            return -1
        rest = get64(live, block)
    return (block << 6) + 63 - leading_zeros(rest)


@compiled
def _merge_many(address: int, size: int, tables: Tables, space: Workspace) -> None:
    """Merge up to MANY bytes: `ids` holds the tokens, where `live` says. Byte k has place k.

    Of each block of 64 places `lowest` keeps the lowest key.
    """
    ids, keys, lowest, live = space.ids + IDS, space.keys, space.lowest, space.live
    for k in range(size):
        put32(ids, k, get32(tables.byte_ids, signed(get8(address, k))))
    put32(ids, size, NO_TOKEN)  # so that the last one merges with nothing
    blocks = (size + 63) >> 6
    for b in range(blocks):
        least, end = NO_KEY, min(size, (b + 1) << 6)
        for k in range(b << 6, end):
            key, _ = _merge_of(get32(ids, k), get32(ids, k + 1), k, tables)
            put32(keys, k, key)
            least = min(least, key)
        put32(lowest, b, least)
        put64(live, b, ALL >> U(((b + 1) << 6) - end))
    while True:
        key = get32(lowest, 0)
        for b in range(1, blocks):
            key = min(key, get32(lowest, b))
        if key == NO_KEY:
            return
        left = signed(key) & (MANY - 1)
        merge = get64(tables.merges, signed(key >> np.uint32(PLACE_BITS)))
        token = np.uint32(merge & ID_MASK)
        put32(ids, left, token)
        right = _next_live(left, blocks, live)
        put64(live, right >> 6, get64(live, right >> 6) & ~(ONE << U(right & 63)))
        after, before = _next_live(left, blocks, live), _previous_live(left, live)
        new = NO_KEY
        if after >= 0:
            new, _ = _merge_of(token, get32(ids, after), left, tables)
        put32(keys, left, new)
        if before >= 0:
            new, _ = _merge_of(get32(ids, before), token, before, tables)
            put32(keys, before, new)
            put32(lowest, before >> 6, _lowest_key(before >> 6, get64(live, before >> 6), space))
        put32(lowest, right >> 6, _lowest_key(right >> 6, get64(live, right >> 6), space))
        put32(lowest, left >> 6, _lowest_key(left >> 6, get64(live, left >> 6), space))


# --- a piece of any size -------------------------------------------------------------------------


@inlined
def put_id(out: int, token: np.uint32, width: int) -> int:
    """Write an id of `width` bytes to `out`; return where it ends."""
    if width == 2:
        put16(out, 0, np.uint16(token))
    else:
        put32(out, 0, np.uint32(token))
    return out + width


@inlined
def _write_live(end: int, out: int, width: int, space: Workspace) -> int:
    """Write the tokens that begin before place `end` to `out`; return where they end."""
    ids = space.ids + IDS
    for b in range((end + 63) >> 6):
        rest = get64(space.live, b)
        if end - (b << 6) < 64:
            rest &= low_bits(end - (b << 6))
        while rest:
            out = put_id(out, get32(ids, (b << 6) + trailing_zeros(rest)), width)
            rest &= rest - ONE
    return out


@compiled
def merge(address: int, size: int, out: int, width: int, tables: Tables, space: Workspace) -> int:
    """Merge a piece of any size; return where its ids end in `out`, or GAVE_UP.

    More than MANY bytes are merged window by window. Tokens are the merge of their text if and only
    if every two neighbours are the merge of theirs: a first merge across a border would have been
    seen in the two neighbours alone. So if a window begins at a token of the window before it, and
    begins with that very token, the tokens before it and its own are together the merge of the two
    windows' text. If it begins otherwise, the end of the window before it had cut something in two.

    Source of the lemma: Neubeck, van Antwerpen, github/rust-gems, crates/bpe, README.md, 2024.
    """
    if size <= FEW:
        _merge_few(address, size, tables, space)
        return _write_live(size, out, width, space)
    ids, end = space.ids + IDS, address + size
    window = min(MANY, size)
    _merge_many(address, window, tables, space)
    while address + window < end:
        cut = _previous_live(window - (window >> 2) + 1, space.live)  # in the first three quarters
        if cut == 0:
            return GAVE_UP
        follows = get32(ids, cut)
        out = _write_live(cut, out, width, space)
        address += cut
        window = min(MANY, end - address)
        _merge_many(address, window, tables, space)
        if get32(ids, 0) != follows:
            return GAVE_UP
    return _write_live(window, out, width, space)
