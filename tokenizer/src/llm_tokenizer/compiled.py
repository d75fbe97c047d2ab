"""Text to token ids in one pass over UTF-8 bytes: split, look up, merge. Compiled by Numba.

The results are those of `splitter.split` and `merging.merge`, which say what this computes; here is
how, section by section.

1. Split. 64 bytes at a time become bit masks, bit k for byte k: letters, numbers, white space. The
   split rule is then a few operations on whole masks, whatever the text.
2. Merge. Neighbours with the lowest rank first. Long pieces are merged in windows, in linear time.
3. Look up. A piece that was met before has its ids in a cache: pieces of up to 15 bytes in `near`,
   where the piece itself is the key, as two words, and its ids are two words, too; all pieces of up
   to 255 bytes in `far`, behind a hash. A hit has compared every byte.
4. Go through a text and call a function for each piece: to encode it or, for training, count it.
5. What Python calls.

Addresses are plain integers, so text is read where it lies: in a Python string, in an Arrow buffer.
Nothing beyond its end is read. `get` and `put` are for tables, whose entries are aligned, `load`
and `store` are for anything else. Every number that meets a 64-bit word is a `U`, as Numba makes a
float of a signed and an unsigned integer.

Numba keeps what it compiled until this file changes; after a change in `instructions` alone, delete
__pycache__.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from llm_tokenizer.instructions import (
    apostrophes,
    ascii_digits,
    ascii_letters,
    ascii_spaces,
    blanks,
    continuations,
    get8,
    get32,
    get64,
    leading_zeros,
    load_word,
    lowest_where,
    put8,
    put16,
    put32,
    put64,
    store_word,
    trailing_zeros,
    wide_leads,
)

U = np.uint64
ZERO, ONE, ALL = U(0), U(1), U(2**64 - 1)
OTHER, LETTER, NUMBER, SPACE = range(4)

KNOWN = 61  # of a block's 64 bytes, those whose next 3 are in the block, too: the rule looks so far
MARGIN = 80  # bytes before the end of a text from where on a copy is read: 64 + 16, the widest read
TAIL_BYTES = 2 * MARGIN + 32

ID_BITS = 21  # of a token id and of a rank: a pair and its rank fit a 64-bit word
LIKELY_BITS = 18  # of a hash: 2**18 bits are 32 KiB, and fit the first cache
RANK_MASK = U(2**ID_BITS - 1)
NO_TOKEN = np.uint32(2**ID_BITS - 1)
PLACE_BITS = 32 - ID_BITS  # of a place in a window: a rank and a place fit 32 bits
WINDOW, LARGE_WINDOW = 64, 2**PLACE_BITS  # bytes merged at once
NO_MERGE = np.uint32(2**32 - 1)
GAVE_UP = -1  # in place of an address

NEAR_BITS, FAR_BITS, STORE_BITS = 16, 18, 24  # log2 of the caches' sets, slots and bytes
NEAR_LONGEST, FAR_LONGEST = 15, 255  # bytes of a piece that the caches take
IN_STORE, IN_COUNTS = U(2**STORE_BITS - 1), U(2**36 - 1)  # the parts of slots that are places
FIRST_ENTRY = 8  # the first place in a store, as 0 is an empty slot

# Odd numbers without a pattern, for multiplicative hashing (Knuth, TAOCP vol. 3, 6.4).
MIX_1, MIX_2 = U(0x9E3779B97F4A7C15), U(0xC2B2AE3D27D4EB4F)


def kept_njit(function):
    """Compile a function on its first call, and keep the outcome on disk if that is possible."""
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # Numba found no writable folder
        return njit(nogil=True)(function)


class Tables(NamedTuple):
    """Addresses of the tables made from a vocabulary and the Unicode classes; read-only."""

    pages: int  # code point >> 8 -> row of `classes`; 8 bits
    classes: int  # row << 8 | low byte of the code point -> OTHER, LETTER, NUMBER, SPACE; 8 bits
    byte_ids: int = 0  # byte -> token id; 32 bits
    merged: int = 0  # rank -> token id; 32 bits
    pairs: int = 0  # hash table of left id << 42 | right id << 21 | rank; 64 bits, ALL where empty
    pairs_shift: int = 0  # from a 64-bit hash down to a slot of `pairs`
    likely: int = 0  # a bit for each hash of LIKELY_BITS: set if a pair of this hash merges


class Tokens(NamedTuple):
    """Addresses of the bytes of all tokens; read-only."""

    content: int  # one token after the other, and 16 bytes more
    starts: int  # id -> where in the content its bytes begin; 32 bits
    lengths: int  # id -> how many bytes, NO_TOKEN where there is none; 32 bits


class Workspace(NamedTuple):
    """Addresses of what one thread writes while it encodes: the caches, and room for merging."""

    near: int  # sets of two entries: two words of piece and two of ids; a word's top byte: sizes
    far: int  # hash table: hash, and below it an address in the store; 64 bits, 0 where empty
    store: int  # entries: size of ids << 16 | size of piece, the piece, its ids, in whole words
    used: int  # bytes of the store, entries of `far`; 64 bits
    ids: int  # place in the window -> id of the token that begins there; 32 bits
    keys: int  # place -> rank << 11 | place of the pair that begins there; 32 bits
    lowest: int  # least key of each 64 places; 32 bits
    live: int  # a bit for each place: a token begins there
    tail: int  # the copy of a text's last bytes


class Counts(NamedTuple):
    """Addresses of the counts of pieces; the table and the store grow, see `PieceCounter`."""

    table: int  # hash table: 28 bits of hash, and below them an eighth of a place in `store`
    table_shift: int  # from a 64-bit hash down to a slot of the table
    store: int  # entries: a word each for the count and the piece's size, the piece in whole words
    size: int  # bytes of the store
    used: int  # bytes of the store, entries; 64 bits
    tail: int  # as in Workspace


@njit(inline="always")
def _low_bits(count):
    """Return a word whose lowest `count` bits are set, fewer than 64."""
    return (ONE << U(count)) - ONE


# --- 1. split ------------------------------------------------------------------------------------


@njit(inline="always")
def _wide_class(word, tables):
    """Return the class and the length of the character beyond ASCII that `word` begins with."""
    lead = word & U(0xFF)
    second, third = (word >> U(8)) & U(0x3F), (word >> U(16)) & U(0x3F)
    if lead < U(0xE0):
        code, length = (lead & U(0x1F)) << U(6) | second, 2
    elif lead < U(0xF0):
        code, length = (lead & U(0x0F)) << U(12) | second << U(6) | third, 3
    else:
        fourth = (word >> U(24)) & U(0x3F)
        code = (lead & U(0x07)) << U(18) | second << U(12) | third << U(6) | fourth
        length = 4
    return get8(
        tables.classes, U(get8(tables.pages, code >> U(8))) << U(8) | code & U(0xFF)
    ), length


@njit(inline="always")
def _contraction_length(address):
    """Return the bytes of the contraction that the apostrophe at `address` begins, or 0."""
    letters = (load_word(address) >> U(8)) & U(0xFFFF)
    first = letters & U(0xFF)
    if first == U(ord("s")) or first == U(ord("t")) or first == U(ord("d")) or first == U(ord("m")):
        return 2
    # The two letters of 'll, 've and 're as a little-endian number.
    return 3 if letters == U(0x6C6C) or letters == U(0x6576) or letters == U(0x6572) else 0


@njit(inline="always")
def _piece_starts(address, tables):
    """Return bit k set where a piece starts at byte k, if one starts at byte 0.

    Bits from KNOWN on mean nothing: what decides about them lies behind the 64 bytes.
    """
    letters, numbers, spaces = ascii_letters(address), ascii_digits(address), ascii_spaces(address)
    leads = wide_leads(address)
    inner = ZERO
    if leads:
        inner = continuations(address)
        while leads:
            k = trailing_zeros(leads)
            leads &= leads - ONE
            kind, length = _wide_class(load_word(address + k), tables)
            character = _low_bits(length) << U(k)
            letters |= character if kind == LETTER else ZERO
            numbers |= character if kind == NUMBER else ZERO
            spaces |= character if kind == SPACE else ZERO
    # Where text follows white space, its last character starts a piece. `last` marks the last byte
    # of that character, then its first, up to two bytes before.
    last = spaces & ~(spaces >> ONE)
    back = (last & inner) >> ONE
    last = (last | back | (back & inner) >> ONE) & ~inner
    changed = (letters ^ letters << ONE) | (numbers ^ numbers << ONE) | (spaces ^ spaces << ONE)
    # If it is a blank, the next character belongs to its piece.
    starts = (changed | last) & ~((last & blanks(address)) << ONE) | ONE
    quotes = starts & apostrophes(address) & _low_bits(KNOWN)
    while quotes:
        k = trailing_zeros(quotes)
        quotes &= quotes - ONE
        length = _contraction_length(address + k)
        if length:
            starts = starts & ~(U(2) << U(k)) | ONE << U(k + length)
    return starts


@njit(inline="always")
def _class_at(address, end, tables):
    """Return the class and length of the character at `address`; 8 bytes lie before it or in it."""
    byte = np.int64(get8(address, 0))
    if byte < 0x80:
        return get8(tables.classes, byte), 1
    beyond = max(address + 8 - end, 0)
    return _wide_class(load_word(address - beyond) >> U(8 * beyond), tables)


@njit
def _long_piece_end(start, end, tables):
    """Return where the piece from `start` ends, one of KNOWN bytes or more."""
    first = start + 1 if get8(start, 0) == ord(" ") else start
    kind, _ = _class_at(first, end, tables)
    place = last = start if kind == SPACE else first
    while place < end:
        other, length = _class_at(place, end, tables)
        if other != kind:
            break
        last = place
        place += length
    if kind == SPACE and place < end and last > start:
        return last
    return min(place, end)


# --- 2. merge ------------------------------------------------------------------------------------


@njit(inline="always")
def _is_likely(hashed, tables):
    """Say if a pair may be in `pairs`: a table far smaller tells most of those that are not."""
    bit = hashed >> U(64 - LIKELY_BITS)
    return (get64(tables.likely, bit >> U(6)) >> (bit & U(63))) & ONE != ZERO


@njit(inline="always")
def _merge_key(left, right, place, tables):
    """Return rank << 11 | place of the pair, so that the least key is the pair to merge first."""
    pair = U(left) << U(ID_BITS) | U(right)
    shift = U(tables.pairs_shift)
    hashed = pair * MIX_1
    if not _is_likely(hashed, tables):
        return NO_MERGE
    slot = hashed >> shift
    while True:
        found = get64(tables.pairs, slot)
        same = found >> U(ID_BITS) == pair
        if same | (found == ALL):
            key = np.uint32(found & RANK_MASK) << np.uint32(PLACE_BITS) | np.uint32(place)
            return key if same else NO_MERGE
        slot = (slot + ONE) & (ALL >> shift)


@njit(inline="always")
def _lowest_key(block, space):
    return lowest_where(space.keys + 4 * 64 * block, get64(space.live, block))


@njit(inline="always")
def _next_live(place, blocks, live):
    """Return the next place where a token begins, or -1."""
    block = place >> 6
    rest = get64(live, block) & ((ALL - ONE) << U(place & 63))
    while rest == ZERO:
        block += 1
        if block == blocks:
            return -1
        rest = get64(live, block)
    return (block << 6) + trailing_zeros(rest)


@njit(inline="always")
def _previous_live(place, live):
    """Return the last place before `place` where a token begins, or -1."""
    block = place >> 6
    rest = get64(live, block) & _low_bits(place & 63)
    while rest == ZERO:
        block -= 1
        if block < 0:
            return -1
        rest = get64(live, block)
    return (block << 6) + 63 - leading_zeros(rest)


@njit
def _merge_window(address, size, tables, space):
    """Merge `size` bytes, at most LARGE_WINDOW: `ids` holds the tokens, where `live` says."""
    ids, keys, lowest, live = space.ids, space.keys, space.lowest, space.live
    for k in range(size):
        put32(ids, k, get32(tables.byte_ids, np.int64(get8(address, k))))
    put32(ids, size, NO_TOKEN)  # so that the last one merges with nothing
    blocks = (size + 63) >> 6
    for b in range(blocks):
        least, end = NO_MERGE, min(size, (b + 1) << 6)
        for k in range(b << 6, end):
            key = _merge_key(get32(ids, k), get32(ids, k + 1), k, tables)
            put32(keys, k, key)
            least = min(least, key)
        put32(lowest, b, least)
        put64(live, b, ALL >> U(((b + 1) << 6) - end))
    while True:
        key = get32(lowest, 0)
        for b in range(1, blocks):
            key = min(key, get32(lowest, b))
        if key == NO_MERGE:
            return
        left = np.int64(key) & (LARGE_WINDOW - 1)
        block = left >> 6
        token = get32(tables.merged, np.int64(key >> np.uint32(PLACE_BITS)))
        put32(ids, left, token)
        right = _next_live(left, blocks, live)
        put64(live, right >> 6, get64(live, right >> 6) & ~(ONE << U(right & 63)))
        after, before = _next_live(left, blocks, live), _previous_live(left, live)
        # The least of the keys that stay, before the new ones, whose look-up takes longer.
        unchanged = get64(live, block) & ~(ONE << U(left & 63))
        if before >> 6 == block:
            unchanged &= ~(ONE << U(before & 63))
        least = lowest_where(keys + 4 * 64 * block, unchanged)
        new = _merge_key(token, get32(ids, after), left, tables) if after >= 0 else NO_MERGE
        put32(keys, left, new)
        least = min(least, new)
        if before >= 0:
            new = _merge_key(get32(ids, before), token, before, tables)
            put32(keys, before, new)
            if before >> 6 == block:
                least = min(least, new)
            else:
                put32(lowest, before >> 6, _lowest_key(before >> 6, space))
        if right >> 6 != block:
            put32(lowest, right >> 6, _lowest_key(right >> 6, space))
        put32(lowest, block, least)


@njit(inline="always")
def _write_live(end, out, width, space):
    """Write the tokens that begin before place `end` to `out`; return where they end."""
    for b in range((end + 63) >> 6):
        rest = get64(space.live, b)
        if end - (b << 6) < 64:
            rest &= _low_bits(end - (b << 6))
        while rest:
            out = _put_id(out, get32(space.ids, (b << 6) + trailing_zeros(rest)), width)
            rest &= rest - ONE
    return out


@njit(inline="always")
def _put_id(out, token, width):
    """Write an id of `width` bytes to `out`; return where it ends."""
    if width == 2:
        put16(out, 0, np.uint16(token))
    else:
        put32(out, 0, np.uint32(token))
    return out + width


@njit
def _merge_long(address, size, out, width, tables, space):
    """Merge a piece of any size; return where its ids end in `out`, or GAVE_UP.

    Tokens are the merge of their text if and only if every two neighbours are the merge of theirs:
    a first merge across a border would have been seen in the two neighbours alone. So if a window
    begins at a token of the window before it, and begins with that very token, the tokens before it
    and its own are together the merge of the two windows' text. If it begins otherwise, the end of
    the window before it had cut something in two, and a larger window is tried in its place; if
    that begins otherwise, all is done again with large windows.

    Source of the lemma: Neubeck, van Antwerpen, github/rust-gems, crates/bpe, README.md, 2024.
    """
    for limit in (WINDOW, LARGE_WINDOW):
        end = _merge_in_windows(address, size, limit, out, width, tables, space)
        if end != GAVE_UP:
            return end
    return GAVE_UP


@njit
def _merge_in_windows(address, size, limit, out, width, tables, space):
    """Merge window by window, each of `limit` bytes; return as `_merge_long` does.

    Of a window the tokens in its first three quarters are kept; the next window begins at the last
    of them, `cut`, and must begin with it.
    """
    done, begins_with = 0, NO_TOKEN
    window = min(limit, size)
    _merge_window(address, window, tables, space)
    while done + window < size:
        cut = _previous_live(window - (window >> 2) + 1, space.live)
        follows = get32(space.ids, cut)
        agreed = False
        if cut > 0:
            written = _write_live(cut, out, width, space)  # to be written over if not agreed
            next_window = min(limit, size - done - cut)
            _merge_window(address + done + cut, next_window, tables, space)
            agreed = get32(space.ids, 0) == follows
        if agreed:
            done, out, window, begins_with = done + cut, written, next_window, follows
        elif window == LARGE_WINDOW:
            return GAVE_UP
        else:
            window = min(LARGE_WINDOW, size - done)
            _merge_window(address + done, window, tables, space)
            if done > 0 and get32(space.ids, 0) != begins_with:
                return GAVE_UP
    return _write_live(window, out, width, space)


# --- 3. look up ----------------------------------------------------------------------------------


@njit(inline="always")
def _round_up(size):
    return (size + 7) & ~7


@njit(inline="always")
def _last_word(address, size):
    """Return the last `size & 7` of `size` bytes as a word, reading none behind them."""
    bits = U(8 * (size & 7))
    if size < 8:  # then a text goes on for 8 bytes, or there is a copy of its end
        return load_word(address) & _low_bits(bits)
    return (load_word(address + size - 8) >> ONE) >> (U(63) - bits)


@njit(inline="always")
def _copy(source, target, size):
    """Copy `size` bytes, and what follows them up to a whole word."""
    for k in range(0, size, 8):
        store_word(target + k, load_word(source + k))


@njit(inline="always")
def hash_bytes(address, size):
    mixed = U(size)
    for k in range(0, size & ~7, 8):
        mixed = (mixed ^ load_word(address + k)) * MIX_1
        mixed ^= mixed >> U(29)
    mixed = (mixed ^ _last_word(address, size)) * MIX_2
    return mixed ^ mixed >> U(32)


@njit(inline="always")
def _equal(address, stored, size):
    """Say if `size` bytes are the same; those at `stored` are followed by zeros to a whole word."""
    for k in range(0, size & ~7, 8):
        if load_word(address + k) != load_word(stored + k):
            return False
    return size & 7 == 0 or _last_word(address, size) == load_word(stored + (size & ~7))


@njit(inline="always")
def _store_bytes(address, size, stored):
    """Copy a piece to whole words."""
    _copy(address, stored, size & ~7)
    if size & 7:
        store_word(stored + (size & ~7), _last_word(address, size))


@njit
def _encode_far(address, size, out, width, tables, space):
    """Encode a piece through the far cache; return as `_merge_long` does."""
    if size > FAR_LONGEST:
        return _merge_long(address, size, out, width, tables, space)
    hashed = hash_bytes(address, size)
    slot = hashed >> U(64 - FAR_BITS)
    found = get64(space.far, slot)
    while found != ZERO:
        if (found ^ hashed) & ~IN_STORE == ZERO:
            entry = space.store + np.int64(found & IN_STORE)
            sizes = load_word(entry)
            if np.int64(sizes & U(0xFFFF)) == size and _equal(address, entry + 8, size):
                size_of_ids = np.int64(sizes >> U(16))
                _copy(entry + 8 + _round_up(size), out, size_of_ids)
                return out + size_of_ids
        slot = (slot + ONE) & _low_bits(FAR_BITS)
        found = get64(space.far, slot)
    end = _merge_long(
        address, size, out, width, tables, space
    )  # a large window takes it: no GAVE_UP
    size_of_ids = end - out
    room = 8 + _round_up(size) + _round_up(size_of_ids)
    place, entries = np.int64(get64(space.used, 0)), get64(space.used, 1)
    if place + room > 2**STORE_BITS or entries > U(2 ** (FAR_BITS - 1)):
        for k in range(2**FAR_BITS):  # full: start over
            put64(space.far, k, ZERO)
        place, entries = FIRST_ENTRY, ZERO
        slot = hashed >> U(64 - FAR_BITS)
    put64(space.used, 0, U(place + room))
    put64(space.used, 1, entries + ONE)
    put64(space.far, slot, (hashed & ~IN_STORE) | U(place))
    entry = space.store + place
    store_word(entry, U(size_of_ids) << U(16) | U(size))
    _store_bytes(address, size, entry + 8)
    _copy(out, entry + 8 + _round_up(size), size_of_ids)
    return end


@njit
def _encode_miss(address, size, out, width, key_1, key_2, entry, tables, space):
    """Encode a piece that is not in the near cache, and put it there if its ids fit."""
    end = _encode_far(address, size, out, width, tables, space)
    if end - out <= 14:
        first = space.near + 8 * np.int64(entry)
        _copy(first, first + 32, 32)
        ids_in_second = _low_bits(8 * (max(end - out, 8) - 8))
        put64(first, 0, key_1)
        put64(first, 1, key_2)
        put64(first, 2, load_word(out))
        put64(first, 3, (load_word(out + 8) & ids_in_second) | (U(end - out) << U(56)))
    return end


@njit(inline="always")
def _encode_near(address, size, out, width, tables, space):
    """Encode a piece of up to 15 bytes through the near cache; write up to 14 bytes more."""
    # The first 8 bytes; the rest, and in the top byte the size, so that no key is 0.
    near, bits = space.near, U(8 * size)
    key_1 = load_word(address) & (ALL >> (U(64) - min(bits, U(64))))
    key_2 = (load_word(address + 8) & _low_bits(max(bits, U(64)) - U(64))) | (U(size) << U(56))
    hashed = (key_1 * MIX_1) ^ (key_2 * MIX_2)
    entry = (hashed >> U(64 - NEAR_BITS)) << U(3)
    in_first = (get64(near, entry) ^ key_1) | (
        get64(near, entry + U(1)) ^ key_2
    )  # 0 if it is there
    in_second = (get64(near, entry + U(4)) ^ key_1) | (get64(near, entry + U(5)) ^ key_2)
    if min(in_first, in_second) == ZERO:  # one branch for both, as which of them is a coin toss
        ids = entry + (U(2) if in_first == ZERO else U(6))
        last = get64(near, ids + ONE)
        store_word(out, get64(near, ids))
        store_word(out + 8, last)
        return out + np.int64(last >> U(56))
    return _encode_miss(address, size, out, width, key_1, key_2, entry, tables, space)


@njit(inline="always")
def _encode_piece(address, size, out, width, tables, space):
    """Write the ids of a piece to `out`, and up to 14 bytes more; return as `_merge_long` does."""
    if size > NEAR_LONGEST:
        return _encode_far(address, size, out, width, tables, space)
    return _encode_near(address, size, out, width, tables, space)


# --- 4. go through a text ------------------------------------------------------------------------


def for_each_piece(visit):
    """Return a compiled function that calls `visit` with every piece of a text, in order.

    It calls visit(address, size, out, width, tables, space), which returns the next `out`, or
    GAVE_UP. The function returns where it stopped, the text's end or the piece that was given up,
    and the last `out`.
    """

    @njit
    def scan(address, end, out, width, tables, space):
        piece, safe, moved = address, end - MARGIN, 0
        while piece < end:
            if piece > safe:
                # White space behind it, so that white space at the end has more after it and stays
                # whole.
                moved, size = space.tail - piece, end - piece
                for k in range(size):
                    put8(space.tail, k, get8(piece, k))
                for k in range(size, TAIL_BYTES):
                    put8(space.tail, k, np.uint8(ord("\n")))
                piece = space.tail
                safe = end = piece + size
            block, rest = piece, end - piece
            starts = _piece_starts(block, tables) & (_low_bits(KNOWN) - ONE)
            if rest < KNOWN:
                starts = (starts & _low_bits(rest)) | (ONE << U(rest))
            if starts == ZERO:
                stop = _long_piece_end(piece, end, tables)
                after = visit(piece, stop - piece, out, width, tables, space)
                if after == GAVE_UP:
                    return piece - moved, out
                piece, out = stop, after
            while starts:
                stop = block + trailing_zeros(starts)
                starts &= starts - ONE
                after = visit(piece, stop - piece, out, width, tables, space)
                if after == GAVE_UP:
                    return piece - moved, out
                piece, out = stop, after
        return piece - moved, out

    return scan


@njit
def _count_piece(address, size, out, _width, _tables, counts):
    """Count a piece; return `out`, or GAVE_UP if there is no room for it."""
    shift = U(counts.table_shift)
    hashed = hash_bytes(address, size)
    slot = hashed >> shift
    found = get64(counts.table, slot)
    while found != ZERO:
        if (found ^ hashed) & ~IN_COUNTS == ZERO:
            entry = counts.store + 8 * np.int64(found & IN_COUNTS)
            if np.int64(get64(entry, 1)) == size and _equal(address, entry + 16, size):
                put64(entry, 0, get64(entry, 0) + ONE)
                return out
        slot = (slot + ONE) & (ALL >> shift)
        found = get64(counts.table, slot)
    place, entries = np.int64(get64(counts.used, 0)), get64(counts.used, 1)
    room = 16 + _round_up(size)
    if place + room > counts.size or U(2) * entries > ALL >> shift:
        return GAVE_UP
    put64(counts.store + place, 0, ONE)
    put64(counts.store + place, 1, U(size))
    _store_bytes(address, size, counts.store + place + 16)
    put64(counts.table, slot, (hashed & ~IN_COUNTS) | U(place >> 3))
    put64(counts.used, 0, U(place + room))
    put64(counts.used, 1, entries + ONE)
    return out


_encode_text = for_each_piece(_encode_piece)
_count_text = for_each_piece(_count_piece)


# --- 5. what Python calls ------------------------------------------------------------------------


@kept_njit
def encode(text, bounds, ends, n_texts, opener, place, out, width, tables, space):
    """Write the ids of the texts that lie one after the other at `text` to `out`.

    Args:
        text: Address of well-formed UTF-8.
        bounds: Address of int64: text k lies from bounds[k] to bounds[k + 1].
        ends: Address of int64: where to write the address at which the ids of text k end.
        n_texts: How many texts.
        opener: An id to write before those of each text, or -1 for none.
        place: Where to begin: a text's number, and an address in it.
        out: Address to write the ids to; one for each byte and opener, and 16 bytes, are enough.
        width: Bytes of an id, 2 or 4.
        tables: Tables.
        space: Workspace, which no other thread uses meanwhile.

    Returns:
        Where it stopped, as `place`, and `out`. If texts are left, the piece at `place` needs the
        reference.
    """
    k, address = place
    while k < n_texts:
        end = text + np.int64(get64(bounds, k + 1))
        if opener >= 0 and address == text + np.int64(get64(bounds, k)):
            out = _put_id(out, opener, width)
        address, out = _encode_text(address, end, out, width, tables, space)
        if address < end:
            break
        put64(ends, k, U(out))
        k += 1
    return (k, address), out


@kept_njit
def long_piece_end(address, end, tables):
    """Return where the piece from `address` ends, one of KNOWN bytes or more."""
    return _long_piece_end(address, end, tables)


@kept_njit
def count(address, end, tables, counts):
    """Count the pieces of a text; return where it stopped: at its end, or as room ran out."""
    return _count_text(address, end, 0, 0, tables, counts)[0]


@kept_njit
def fill_counts(counts):
    """Enter what the store holds in the empty table."""
    shift, place = U(counts.table_shift), FIRST_ENTRY
    while place < np.int64(get64(counts.used, 0)):
        size = np.int64(get64(counts.store + place, 1))
        hashed = hash_bytes(counts.store + place + 16, size)
        slot = hashed >> shift
        while get64(counts.table, slot) != ZERO:
            slot = (slot + ONE) & (ALL >> shift)
        put64(counts.table, slot, (hashed & ~IN_COUNTS) | U(place >> 3))
        place += 16 + _round_up(size)


@kept_njit
def fill_pairs(lefts, rights, n_merges, tables):
    """Enter merges, two uint32 ids each, in empty tables; of two of one pair the last counts."""
    shift = U(tables.pairs_shift)
    for rank in range(n_merges):
        pair = U(get32(lefts, rank)) << U(ID_BITS) | U(get32(rights, rank))
        bit = pair * MIX_1 >> U(64 - LIKELY_BITS)
        word = get64(tables.likely, bit >> U(6)) | (ONE << (bit & U(63)))
        put64(tables.likely, bit >> U(6), word)
        slot = pair * MIX_1 >> shift
        while get64(tables.pairs, slot) != ALL and get64(tables.pairs, slot) >> U(ID_BITS) != pair:
            slot = (slot + ONE) & (ALL >> shift)
        put64(tables.pairs, slot, pair << U(ID_BITS) | U(rank))


@kept_njit
def fill_near(tokens, n_ids, out, width, tables, space):
    """Enter the tokens of a vocabulary, as pieces, in the near cache; `out` has 64 bytes."""
    for k in range(n_ids):
        size = np.int64(get32(tokens.lengths, k))
        if 0 < size <= NEAR_LONGEST:
            address = tokens.content + np.int64(get32(tokens.starts, k))
            _encode_near(address, size, out, width, tables, space)


@kept_njit
def decoded_size(ids, n_ids, tokens, n_known):
    """Return how many bytes the tokens of uint32 ids have, or GAVE_UP if one is unknown.

    `tokens` goes from id 0 to n_known - 1.
    """
    total = 0
    for k in range(n_ids):
        token = np.int64(get32(ids, k))
        if token >= n_known or get32(tokens.lengths, token) == NO_TOKEN:
            return GAVE_UP
        total += np.int64(get32(tokens.lengths, token))
    return total


@kept_njit
def decode(ids, n_ids, tokens, out):
    """Write the bytes of tokens, all of them known, to `out`, and up to 7 bytes more."""
    for k in range(n_ids):
        token = np.int64(get32(ids, k))
        size = np.int64(get32(tokens.lengths, token))
        _copy(tokens.content + np.int64(get32(tokens.starts, token)), out, size)
        out += size
