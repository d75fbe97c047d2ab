from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest

from llm_tokenizer import unicode_classes
from llm_tokenizer.compiled.instructions import letter_leads_of_2, letter_leads_of_3

ALL_BYTES = np.arange(256, dtype=np.uint8)
LETTERS = {
    code for first, last in unicode_classes.ranges("letter") for code in range(first, last + 1)
}


def bytes_of(instruction: Callable[[int], int]) -> list[int]:
    """Return the bytes for which an instruction sets a bit, of all 256, 64 at a time."""
    mask: Any = numba.njit(lambda address: instruction(address))
    words = [int(mask(ALL_BYTES.ctypes.data + first)) for first in range(0, 256, 64)]
    return [byte for byte in range(256) if words[byte // 64] >> byte % 64 & 1]


def code_points(lead: int) -> range:
    """Return the code points whose UTF-8, of 2 or 3 bytes, begins with `lead`."""
    if lead < 0xE0:
        return range((lead & 0x1F) << 6, ((lead & 0x1F) + 1) << 6)
    return range((lead & 0x0F) << 12, ((lead & 0x0F) + 1) << 12)


@pytest.mark.parametrize(
    ("instruction", "leads"),
    [(letter_leads_of_2, range(0xC2, 0xE0)), (letter_leads_of_3, range(0xE0, 0xF0))],
)
def test_the_first_bytes_taken_for_letters_begin_letters_alone(
    instruction: Callable[[int], int], leads: range
) -> None:
    named = bytes_of(instruction)
    assert named
    for lead in named:
        assert lead in leads  # so that it says how many bytes the character has
        assert LETTERS.issuperset(code_points(lead)), hex(lead)


@pytest.mark.parametrize(
    ("character", "lead"), [("ÿ", 0xC3), ("я", 0xD1), ("日", 0xE6), ("각", 0xEA)]
)
def test_a_first_byte_says_of_which_code_points_a_character_is_one(
    character: str, lead: int
) -> None:
    assert character.encode()[0] == lead
    assert ord(character) in code_points(lead)
