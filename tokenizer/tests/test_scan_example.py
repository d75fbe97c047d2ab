"""The example in the docstring of `compiled.scan`, row by row: computed here in plain Python."""

import re

import pytest

from llm_tokenizer import unicode_classes
from llm_tokenizer.compiled import scan
from llm_tokenizer.splitter import split

DOC = scan.__doc__ or ""
ROWS = {name: cells.split() for name, cells in re.findall(r"(?m)^ {4}(\w+) +((?:\S ){12}\S)", DOC)}
BYTES = range(13)

# One entry for each byte of the example, as in the rows; each byte of a character is as the whole.
TEXT = re.findall(r'"(I\'ll .+?)"', DOC)[0]
CHARACTERS = [character for character in TEXT for _ in character.encode()]


def mask(name: unicode_classes.Class) -> list[bool]:
    ranges = unicode_classes.ranges(name)
    return [any(first <= ord(one) <= last for first, last in ranges) for one in CHARACTERS]


LETTERS, NUMBERS, SPACES = mask("letter"), mask("number"), mask("space")


def changed(k: int) -> bool:
    """A class's mask differs from itself, moved on by a byte."""
    return any(
        of_class[k] != (k > 0 and of_class[k - 1]) for of_class in (LETTERS, NUMBERS, SPACES)
    )


def last(k: int) -> bool:
    """A space, and the byte that follows it is none."""
    return SPACES[k] and not (k + 1 < len(SPACES) and SPACES[k + 1])


def start(k: int) -> bool:
    """Changed or last, but not right after a blank that is last."""
    after_blank = k > 0 and last(k - 1) and CHARACTERS[k - 1] == " "
    return (changed(k) or last(k)) and not after_blank


def piece(k: int) -> bool:
    return k in {len("".join(split(TEXT)[:n]).encode()) for n in range(len(split(TEXT)))}


def test_the_text_of_the_example_is_written_one_byte_a_column() -> None:
    assert ROWS["text"] == [character.replace(" ", "_") for character in CHARACTERS]


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("letters", LETTERS),
        ("numbers", NUMBERS),
        ("spaces", SPACES),
        ("changed", [changed(k) for k in BYTES]),
        ("last", [last(k) for k in BYTES]),
        ("starts", [start(k) for k in BYTES]),
        ("pieces", [piece(k) for k in BYTES]),  # not by masks: as the reference splits the text
    ],
)
def test_each_row_of_the_example_holds(name: str, row: list[bool]) -> None:
    assert ROWS[name] == [".1"[bit] for bit in row]
