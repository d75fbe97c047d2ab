"""How tokens are written and where they begin, from a vocabulary made by hand."""

import pytest

from gpt2.serve.completions.token_strings import Places, TokenStrings, written

HE, SUN, REST, END = 257, 0xE6, 258, 259  # of the fixture `strings`


@pytest.mark.parametrize(
    ("token", "string"),
    [
        (HE, " he"),
        (END, "<end>"),
        (SUN, r"bytes:\xe6"),
        (REST, r"bytes:\x97\xa5"),
        (260, "token_id:260"),  # a model may have more ids than its vocabulary
    ],
)
def test_a_token_is_written_as_its_characters_or_else_its_bytes(
    strings: TokenStrings, token: int, string: str
) -> None:
    assert strings[token] == string
    assert strings[token] == string  # the second time, too


def test_only_whole_characters_are_written_as_such() -> None:
    assert written("é".encode()) == "é"
    assert written(b"\xc3") == r"bytes:\xc3"
    assert written("é".encode() + b"\xc3") == r"bytes:\xc3\xa9\xc3"


def test_the_text_of_tokens_has_a_replacement_where_bytes_are_no_characters(
    strings: TokenStrings,
) -> None:
    assert strings.text_of([HE, SUN, REST, SUN]) == " he日\ufffd"
    assert strings.text_of([HE, 260, END]) == " he<end>"


def test_places_count_characters_and_a_token_within_one_is_at_it() -> None:
    places = Places()

    assert [places.next(token) for token in (b" he", b"\xe6", b"\x97\xa5", b"!", b"")] == [
        0,
        3,
        3,
        4,
        5,
    ]


@pytest.mark.parametrize(
    "tokens",
    [
        [b"\xe6", b"t", b"!"],  # no third byte comes
        [b"\xe6", b"\xe6\x97", b"\xe6\x97\xa5", b"!"],
        [b"\xe0", b"\x80", b"!"],  # a byte that may not come there
        [b"\xf0\x9f", b"\x98", b"\x80", b"!"],
        [b"\xef\xbf", b"\xbd", b"!"],  # U+FFFD itself
        [b"a", b"\x80", b"\xe6\x97", b"", b"a", b"!"],
    ],
)
def test_what_follows_a_token_that_is_no_character_is_after_its_replacement(
    tokens: list[bytes],
) -> None:
    text, places = b"".join(tokens).decode(errors="replace"), Places()

    found = [places.next(token) for token in tokens]

    assert all(
        text[place:].startswith(token.decode())
        for place, token in zip(found, tokens, strict=True)
        if token.isascii()
    )
    assert (found[0], found[-1]) == (0, len(text) - 1)


def test_a_text_that_ends_within_a_character_has_a_replacement_before_the_next_text() -> None:
    places = Places()

    before = [places.next(b"a"), places.next(b"\xe6")]
    places.end()

    assert [*before, places.next(b"\x97"), places.next(b"b")] == [0, 1, 2, 3]
