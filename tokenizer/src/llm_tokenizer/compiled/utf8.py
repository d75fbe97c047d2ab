"""Is it UTF-8? Checked 64 bytes at a time, so that bytes need not become a string first.

Source: Unicode 16.0, table 3-7, well-formed UTF-8 byte sequences.
"""

import numpy as np

from llm_tokenizer.compiled.instructions import (
    continuations,
    load_word,
    trailing_zeros,
    wide_leads,
)
from llm_tokenizer.compiled.jit import inlined, kept
from llm_tokenizer.compiled.layouts import GAVE_UP, ONE, ZERO, U, low_bits

STRIDE = 61  # bytes of a block about whose characters the 64 decide


@inlined
def _bytes_after(word: np.uint64) -> int:
    """Return how many bytes follow the first byte of `word` in its character, or GAVE_UP.

    It looks at the second byte where that decides: whether the character has a shorter form, is a
    surrogate, or is beyond U+10FFFF.
    """
    lead, second = word & U(0xFF), (word >> U(8)) & U(0xFF)
    if lead < U(0xE0):
        return 1 if lead >= U(0xC2) else GAVE_UP
    if lead < U(0xF0):
        too_short, surrogate = (lead == U(0xE0)) & (second < U(0xA0)), lead == U(0xED)
        return GAVE_UP if too_short or (surrogate & (second > U(0x9F))) else 2
    too_short, last = (lead == U(0xF0)) & (second < U(0x90)), lead == U(0xF4)
    return GAVE_UP if too_short or (last & (second > U(0x8F))) or lead > U(0xF4) else 3


@kept
def check_utf8(address: int, end: int) -> int:
    """Return how far bytes are UTF-8, up to the last 72 or less; GAVE_UP if they are not.

    The bytes of the last character up to there may not all have been checked.
    """
    wanted = ZERO  # the bytes of the block that go on with a character
    while address + 64 + 8 <= end:
        leads, found = wide_leads(address) & low_bits(STRIDE), continuations(address)
        while leads:
            k = trailing_zeros(leads)
            leads &= leads - ONE
            after = _bytes_after(load_word(address + k))
            if after == GAVE_UP:
                return GAVE_UP
            wanted |= low_bits(after) << U(k + 1)
        if (wanted ^ found) & low_bits(STRIDE):
            return GAVE_UP
        wanted >>= U(STRIDE)
        address += STRIDE
    return address
