"""GPT-2's split rule: text to the pieces inside which byte pairs may merge.

The rule, with letter, number and white space as `unicode_classes` pins them, first match wins:

1. an English contraction: 's 't 'd 'm 'll 've 're, in lower case
2. letters, with one space before them if there is one
3. numbers, with one space before them if there is one
4. anything else that is not white space, with one space before it if there is one
5. white space, but for the last character of it where more text follows: that one is left for the
   next piece
6. what white space is left

Source: OpenAI, gpt-2, src/encoder.py (the pattern), 2019.
"""

import codecs
import re
import sys
from collections.abc import Iterator
from functools import cache

from llm_tokenizer import unicode_classes

ASCII = (
    0x7F  # its last code point; Python's re finds it five times as fast in classes of ASCII alone
)
_CONTINUATIONS = bytes(range(0x80, 0xC0))  # all bytes of a UTF-8 character except its first


def split(text: str) -> list[str]:
    """Return the pieces of `text`; joined, they are `text` again.

    >>> split("I'll take 12  apples")
    ['I', "'ll", ' take', ' 12', ' ', ' apples']
    """
    return _pattern(ASCII if text.isascii() else sys.maxunicode).findall(text)


def split_by_line(text: str) -> Iterator[tuple[int, str]]:
    """Give the pieces of `text` in order, each after the line of the rule, 1 to 6, that took it.

    >>> list(split_by_line("It's 7  pm"))
    [(2, 'It'), (1, "'s"), (3, ' 7'), (5, ' '), (2, ' pm')]
    """
    for match in _numbered_pattern().finditer(text):
        assert match.lastindex  # each line is a group, and one of them has matched
        yield match.lastindex, match[0]


def last_cut(text: str) -> int:
    """Return the last place where `text` may be cut so that both parts split as in the whole.

    That is where a piece ends whatever stands around it; 0 if there is no such place.

    >>> last_cut("It's 12 o'cl")
    9
    """
    match = _cut_pattern().match(text)
    return match.end() if match else 0


def fits_in_a_piece(token: bytes) -> bool:
    """Return whether some piece of some text holds these bytes, so that merges can make them.

    A token may begin or end inside a character, which is then taken to be of any class. Bytes that
    are no part of UTF-8 text at all are in no text, so that they do no harm: they fit.

    >>> fits_in_a_piece(b" apples"), fits_in_a_piece(b"'ll"), fits_in_a_piece(b"apples.")
    (True, True, False)
    """
    rest = token.lstrip(_CONTINUATIONS)  # of a character that begins before the token
    if len(token) - len(rest) > 3:
        return True
    try:
        text, _ = codecs.utf_8_decode(rest, "strict", False)  # leaves out an unfinished character
    except UnicodeDecodeError:
        return True
    at_start = len(rest) == len(token)
    return bool(_part_pattern(at_start).fullmatch(text))


def well_formed(text: str) -> str:
    """Return `text` as Unicode allows it: surrogate pairs joined, lone surrogates as U+FFFD.

    >>> well_formed("a\\ud800b")
    'a\ufffdb'
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


@cache
def _classes(end: int = sys.maxunicode) -> tuple[str, str, str]:
    """Return the letters, numbers and white space up to `end` as the inside of a character set."""
    letter, number, space = (
        "".join(
            f"\\U{first:08x}-\\U{min(last, end):08x}"
            for first, last in unicode_classes.ranges(name)
            if first <= end
        )
        for name in ("letter", "number", "space")
    )
    return letter, number, space


@cache
def _part_pattern(at_start: bool) -> re.Pattern[str]:
    """Return what matches a part of one piece, which may be the start of the piece or not."""
    letter, number, space = _classes()
    blank, contractions = (" ?", "'(?:[sdmt]|ll?|ve?|re?)|") if at_start else ("", "")
    return re.compile(
        f"{contractions}{blank}[{letter}]*|{blank}[{number}]*"
        f"|{blank}[^{space}{letter}{number}]*|[{space}]*"
    )


@cache
def _cut_pattern() -> re.Pattern[str]:
    letter, number, space = _classes()
    return re.compile(
        f"(?s:.*)(?:(?<=[{letter}])(?=[^{letter}])"
        f"|(?<=[{number}])(?=[^{number}])"
        f"|(?<=[^{space}])(?=[{space}]))"
    )


@cache
def _pattern(end: int) -> re.Pattern[str]:
    """Return what matches a piece of a text whose characters are none beyond `end`."""
    return re.compile("|".join(_lines(end)))


@cache
def _numbered_pattern() -> re.Pattern[str]:
    return re.compile("|".join(f"({line})" for line in _lines()))


def _lines(end: int = sys.maxunicode) -> tuple[str, ...]:
    """Return the six lines of the rule as patterns, for characters up to `end`."""
    letter, number, space = _classes(end)
    return (
        "'(?:[sdmt]|ll|ve|re)",
        f" ?[{letter}]+",
        f" ?[{number}]+",
        f" ?[^{space}{letter}{number}]+",
        f"[{space}]+(?![^{space}])",
        f"[{space}]+",
    )
