"""Split a text: GPT-2's rule on 64 bytes at a time, as bit masks. Bit k of a mask is for byte k.

`splitter` has the rule. A piece starts where the class of the characters changes, with three
exceptions: a blank belongs to the piece after it, white space leaves its last character to what
follows it, and a contraction such as 's is a piece of its own. Three masks hold which bytes are of
which class; a few operations on whole masks then find all starts. Only contractions, and characters
beyond ASCII whose first byte does not give their class, are looked at one by one. For
"I'll be  9 é", whose é has two bytes, byte 0 on the left:

    text      I ' l l _ b e _ _ 9 _ é é
    letters   1 . 1 1 . 1 1 . . . . 1 1
    numbers   . . . . . . . . . 1 . . .
    spaces    . . . . 1 . . 1 1 . 1 . .
    changed   1 1 1 . 1 1 . 1 . 1 1 1 .   the class is not that of the byte before
    last      . . . . 1 . . . 1 . 1 . .   a space, and the next byte is none
    starts    1 1 1 . 1 . . 1 1 . 1 . .   changed or last, but not right after a blank that is last
    pieces    1 1 . . 1 . . 1 1 . 1 . .   with the contraction 'll joined

A block of 64 bytes decides about those of its bytes that have what the rule looks at in the block,
too: 7 bytes before and 3 after. So blocks overlap by 10 bytes.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from llm_tokenizer.compiled.instructions import (
    apostrophes,
    ascii_digits,
    ascii_letters,
    ascii_spaces,
    blanks,
    continuations,
    get8,
    get64,
    letter_leads_of_2,
    letter_leads_of_3,
    load_word,
    put8,
    put64,
    trailing_zeros,
    wide_leads,
)
from llm_tokenizer.compiled.jit import compiled, inlined
from llm_tokenizer.compiled.layouts import (
    BATCH,
    BEFORE_TAIL,
    ENTRY,
    GAVE_UP,
    LETTER,
    MARGIN,
    NUMBER,
    ONE,
    SPACE,
    TAIL_BYTES,
    ZERO,
    Tables,
    U,
    Workspace,
    low_bits,
    signed,
)

# What decides about a byte. After it: the rest of a white-space character of 3 bytes and the first
# byte of what follows it, or the two letters of a contraction. Before it: a contraction of 3 bytes,
# and the character before that, of up to 4: it has no class if its first byte is not in the block.
BYTES_AFTER, BYTES_BEFORE = 3, 7
STRIDE = 64 - BYTES_AFTER - BYTES_BEFORE
DECIDED = U(2 ** (64 - BYTES_AFTER) - 2**BYTES_BEFORE)
# Nothing is before a text's first byte, and that a piece starts there is known.
DECIDED_AT_FIRST = U(2 ** (64 - BYTES_AFTER) - 2)
S, T, D, M = (U(ord(letter)) for letter in "stdm")
LL, VE, RE = (U(int.from_bytes(letters, "little")) for letters in (b"ll", b"ve", b"re"))
LINE_BREAK = np.uint8(ord("\n"))


@inlined
def _wide_class(word: np.uint64, tables: Tables) -> tuple[int, int]:
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
    row = U(get8(tables.pages, code >> U(8)))
    return get8(tables.classes, row << U(8) | code & U(0xFF)), length


@inlined
def _contraction_length(address: int) -> int:
    """Return the bytes of the contraction that the apostrophe at `address` begins, or 0."""
    letters = (load_word(address) >> U(8)) & U(0xFFFF)
    first = letters & U(0xFF)
    if first in (S, T, D, M):
        return 2
    return 3 if letters in (LL, VE, RE) else 0


@inlined
def _classes(block: int, tables: Tables) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Return the masks of letters, numbers, white space, and bytes inside of a character."""
    letters, numbers, spaces = ascii_letters(block), ascii_digits(block), ascii_spaces(block)
    leads, inner = wide_leads(block), ZERO
    if leads:
        inner = continuations(block)
        of_2, of_3 = letter_leads_of_2(block), letter_leads_of_3(block)
        letters |= of_2 | of_2 << ONE | of_3 | of_3 << ONE | of_3 << U(2)
        leads &= ~(of_2 | of_3)
        while leads:
            k = trailing_zeros(leads)
            leads &= leads - ONE
            kind, length = _wide_class(load_word(block + k), tables)
            character = low_bits(length) << U(k)
            letters |= character if kind == LETTER else ZERO
            numbers |= character if kind == NUMBER else ZERO
            spaces |= character if kind == SPACE else ZERO
    return letters, numbers, spaces, inner


@inlined
def piece_starts(block: int, tables: Tables) -> np.uint64:
    """Return the mask of the bytes at which a piece starts, if one starts at byte 0.

    If none does, the first BYTES_BEFORE bits mean nothing; the last BYTES_AFTER never do.
    """
    letters, numbers, spaces, inner = _classes(block, tables)
    changed = (letters ^ letters << ONE) | (numbers ^ numbers << ONE) | (spaces ^ spaces << ONE)
    # The last byte of the last space, then that space's first byte, up to two bytes before.
    last = spaces & ~(spaces >> ONE)
    back = (last & inner) >> ONE
    last = (last | back | (back & inner) >> ONE) & ~inner
    starts = (changed | last) & ~((last & blanks(block)) << ONE) | ONE
    quotes = starts & apostrophes(block) & low_bits(64 - BYTES_AFTER)
    while quotes:
        k = trailing_zeros(quotes)
        quotes &= quotes - ONE
        length = _contraction_length(block + k)
        if length:
            starts = starts & ~(U(2) << U(k)) | ONE << U(k + length)
    return starts


@inlined
def _copy_tail(first: int, end: int, tail: int) -> None:
    """Copy a text's last bytes. Line breaks after them keep the white space at its end whole."""
    for k in range(end - first):
        put8(tail, k, get8(first, k))
    for k in range(end - first, TAIL_BYTES):
        put8(tail, k, LINE_BREAK)


def for_each_piece(
    look_ahead: Callable[..., Any], take: Callable[..., Any], work: Callable[..., Any]
) -> Callable[..., Any]:
    """Return a compiled function that goes through the pieces of a text, in batches, in order.

    Args:
        look_ahead: (piece, size, entry, tables, space), once a piece is found. It may write words
            1 to 3 of the piece's entry in the batch, and reads no more than 16 bytes, none of a
            piece that has 16 or more.
        take: (entry, out) -> whether this piece is done, and the next `out`; quick, for most.
        work: (piece, size, out, width, tables, space) -> the next `out`, or GAVE_UP; for the rest.

    The function returns the piece that was given up, its start and its end, or twice the end of the
    text; and the next `out`.
    """

    @compiled
    def scan(
        address: int, end: int, out: int, width: int, tables: Tables, space: Workspace
    ) -> tuple[int, int, int]:
        piece = block = address
        decided, last, limit = DECIDED_AT_FIRST, end, end - MARGIN
        shift, tail = 0, address
        for in_tail in range(2):  # first where a block lies in the text, then in a copy of its end
            if in_tail:
                first = max(address, block - BEFORE_TAIL)
                tail, shift = space.tail, space.tail - first
                _copy_tail(first, end, tail)
                piece, block = piece + shift, block + shift
                last = limit = end + shift
            while block < limit:
                batch_end = entry = space.batch
                while (block < limit) & (batch_end < space.batch + ENTRY * BATCH):
                    starts = piece_starts(block, tables)
                    if last - block < 64:
                        starts = starts & low_bits(last - block) | ONE << U(last - block)
                    starts &= decided
                    while starts:
                        stop = block + trailing_zeros(starts)
                        starts &= starts - ONE
                        put64(batch_end, 0, U(piece))
                        look_ahead(piece, stop - piece, batch_end, tables, space)
                        piece, batch_end = stop, batch_end + ENTRY
                    block += STRIDE
                    decided = DECIDED
                put64(batch_end, 0, U(piece))
                while True:
                    while entry < batch_end:  # nothing slow in here, so that it stays in registers
                        done, out = take(entry, out)
                        if not done:
                            break
                        entry += ENTRY
                    if entry == batch_end:
                        break
                    start, stop = signed(get64(entry, 0)), signed(get64(entry + ENTRY, 0))
                    where = start if start >= tail else start - shift  # a long one begins before it
                    after = work(where, stop - start, out, width, tables, space)
                    if after == GAVE_UP:
                        return start - shift, stop - shift, out
                    entry, out = entry + ENTRY, after
        return end, end, out

    return scan
