"""What an answer holds, from tokens and log-probabilities made by hand."""

import math

import pytest

from gpt2.generation.log_probabilities import Token
from gpt2.serve.completions.answer import (
    LogProbabilities,
    Places,
    TokenStrings,
    api_finish_reason,
    joined,
    usage,
    written,
)
from llm_tokenizer import Tokenizer
from llm_tokenizer.vocabulary import Vocabulary


@pytest.fixture
def tokenizer() -> Tokenizer:
    """The bytes 0 to 255, and 256: " he", 257: the second and third byte of "日", 258: an end."""
    ids = {bytes([i]): i for i in range(256)}
    merges = [(b" h", b"e"), (b"\x97", b"\xa5")]
    ids |= {b" h": 256, b" he": 257, b"\x97\xa5": 258}
    return Tokenizer(Vocabulary(ids, [(b" ", b"h"), *merges], {"<end>": 259}))


@pytest.fixture
def strings(tokenizer: Tokenizer) -> TokenStrings:
    return TokenStrings(tokenizer)


H, EYE, HE, SUN, REST, END = 104, 105, 257, 0xE6, 258, 259


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


def test_without_a_tokenizer_tokens_are_written_by_their_ids() -> None:
    strings = TokenStrings(None)

    assert (strings[5], strings.bytes_of(5), strings.text_of([5, 6])) == ("token_id:5", b"", "")


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


def test_drawn_tokens_have_their_values_their_rivals_and_their_places(
    strings: TokenStrings,
) -> None:
    first = Token(HE, -0.5, ((HE, -0.5), (EYE, -1.5)))
    second = Token(H, -7.0, ((EYE, -0.25),))  # it was unlikely: the list has it all the same

    assert LogProbabilities(strings).of_tokens([first, second]) == {
        "tokens": [" he", "h"],
        "token_logprobs": [-0.5, -7.0],
        "top_logprobs": [{" he": -0.5, "i": -1.5}, {"i": -0.25, "h": -7.0}],
        "text_offset": [0, 3],
    }


def test_parts_go_on_where_the_last_one_ended(strings: TokenStrings) -> None:
    drawn = [Token(HE, -0.5), Token(SUN, -1.0), Token(REST, -2.0), Token(EYE, -3.0)]
    whole, parts = LogProbabilities(strings), LogProbabilities(strings)

    listed = [parts.of_tokens(drawn[:2]), parts.of_tokens([]), parts.of_tokens(drawn[2:])]

    assert joined(*listed) == whole.of_tokens(drawn)
    assert joined(*listed)["text_offset"] == [0, 3, 3, 4]


def test_an_echoed_prompt_begins_with_a_token_of_which_nothing_is_known(
    strings: TokenStrings,
) -> None:
    listed = LogProbabilities(strings)

    prompt = listed.of_prompt([HE, EYE], [Token(EYE, -0.75, ((H, -0.5),))])
    new = listed.of_tokens([Token(H, -1.0)])

    assert prompt == {
        "tokens": [" he", "i"],
        "token_logprobs": [None, -0.75],
        "top_logprobs": [None, {"h": -0.5, "i": -0.75}],
        "text_offset": [0, 3],
    }
    assert (new["token_logprobs"], new["text_offset"]) == ([-1.0], [4])


def test_a_prompt_that_was_not_read_has_nothing_but_its_tokens(strings: TokenStrings) -> None:
    listed = LogProbabilities(strings).of_prompt([HE, EYE], [])

    assert listed["tokens"] == [" he", "i"]
    assert listed["token_logprobs"] == listed["top_logprobs"] == [None, None]


def test_tokens_may_be_written_by_their_ids(strings: TokenStrings) -> None:
    listed = LogProbabilities(strings, shows_ids=True).of_tokens([Token(H, -1.0, ((EYE, -0.5),))])

    assert listed["tokens"] == ["token_id:104"]
    assert listed["top_logprobs"] == [{"token_id:105": -0.5, "token_id:104": -1.0}]


def test_a_token_that_cannot_come_has_a_number_that_json_can_hold(strings: TokenStrings) -> None:
    listed = LogProbabilities(strings).of_prompt([H, EYE], [Token(EYE, -math.inf, ((H, 0.0),))])

    assert listed["token_logprobs"] == [None, -9999.0]
    assert listed["top_logprobs"][1] == {"h": 0.0, "i": -9999.0}


def test_reasons_are_named_as_the_api_has_them() -> None:
    assert api_finish_reason("length", timed_out=True) == "length"
    assert api_finish_reason("stop", timed_out=True) == "stop"
    assert api_finish_reason("end_of_text", timed_out=False) == "stop"
    assert api_finish_reason("cancelled", timed_out=True) == "timeout"
    assert api_finish_reason("cancelled", timed_out=False) == "abort"


def test_prompts_count_once_however_many_texts_are_written() -> None:
    assert usage([[1, 2], [3]], 40) == {
        "prompt_tokens": 3,
        "completion_tokens": 40,
        "total_tokens": 43,
    }
