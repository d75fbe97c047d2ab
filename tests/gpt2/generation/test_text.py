from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2.generation.text import Piece, TextStream
from llm_tokenizer import END_OF_TEXT, Tokenizer, UnknownTokenError

LICENSE = (Path(__file__).parents[3] / "LICENSE").read_text(encoding="utf-8")
TOKENIZER = Tokenizer.train([LICENSE, "héé 😀😀 日本"], 300)
IDS = st.lists(st.integers(0, 299), max_size=30)
WRITTEN = st.text("ab é😀\ufffd<", max_size=12).map(TOKENIZER.encode)


def pieces_of(ids: Sequence[int], stop: Sequence[str] = ()) -> tuple[list[list[Piece]], TextStream]:
    """Return the pieces that each token brings, and those at the end."""
    stream = TextStream(TOKENIZER, stop)
    return [*map(stream.add, ids), stream.finish()], stream


def joined(pieces: list[list[Piece]]) -> str:
    return "".join(text for some in pieces for text, _ in some)


def ids_of_bytes(text: str) -> list[int]:
    return [TOKENIZER.encode_single_token(bytes([byte])) for byte in text.encode()]


def whole_characters(text: bytes) -> str:
    """Decode all but a character at the end whose last bytes are missing."""
    for length in (3, 2, 1):
        try:
            text[-length:].decode()
        except UnicodeDecodeError as error:
            if error.start == 0 and error.reason == "unexpected end of data":
                return text[:-length].decode("utf-8", "replace")
    return text.decode("utf-8", "replace")


def cut_at_stop(ids: Sequence[int], stop: Sequence[str]) -> str:
    """Decode all ids anew after each, until the text holds a stop string."""
    so_far = [TOKENIZER.decode_bytes(ids[: i + 1]) for i in range(len(ids))]
    for text in [*map(whole_characters, so_far), TOKENIZER.decode(ids)]:
        if starts := [text.index(one) for one in stop if one in text]:
            return text[: min(starts)]
    return TOKENIZER.decode(ids)


def test_text_comes_with_the_token_that_completes_it() -> None:
    ids = TOKENIZER.encode("copy it")
    pieces, _ = pieces_of(ids)
    assert pieces == [[(TOKENIZER.decode([i]), n)] for n, i in enumerate(ids)] + [[]]


def test_a_character_comes_whole_with_its_last_byte() -> None:
    pieces, _ = pieces_of(ids_of_bytes("é€😀"))
    assert pieces == [[], [("é", 1)], [], [], [("€", 4)], [], [], [], [("😀", 8)], []]


def test_a_character_that_stays_unfinished_is_replaced_at_the_end() -> None:
    ids = ids_of_bytes("a😀")[:3]
    pieces, _ = pieces_of(ids)
    assert pieces == [[("a", 0)], [], [], [("\ufffd", 2)]]
    assert joined(pieces) == TOKENIZER.decode(ids)


def test_a_byte_that_fits_no_character_is_replaced_when_that_is_known() -> None:
    first_of_two, letter = ids_of_bytes("é")[0], ids_of_bytes("a")[0]
    pieces, _ = pieces_of([first_of_two, letter])
    assert pieces == [[], [("\ufffda", 1)], []]


def test_a_special_token_is_its_text() -> None:
    pieces, _ = pieces_of([TOKENIZER.eot_token])
    assert pieces == [[(END_OF_TEXT, 0)], []]


def test_a_stop_string_over_several_tokens_ends_the_text_before_it() -> None:
    pieces, stream = pieces_of(ids_of_bytes("ab\n\nc"), ["\n\n"])
    assert pieces == [[("a", 0)], [("b", 1)], [], [], [], []]
    assert stream.stopped


def test_what_could_begin_a_stop_string_comes_when_it_does_not() -> None:
    pieces, stream = pieces_of(ids_of_bytes("xaab"), ["aac"])
    assert pieces == [[("x", 0)], [], [], [("a", 1), ("a", 2), ("b", 3)], []]
    assert not stream.stopped


def test_only_so_much_is_held_back_as_could_begin_a_stop_string() -> None:
    pieces, stream = pieces_of(ids_of_bytes("aaac"), ["aac"])
    assert pieces == [[], [], [("a", 0)], [], []]
    assert stream.stopped


def test_what_is_held_back_comes_at_the_end() -> None:
    pieces, stream = pieces_of(ids_of_bytes("<|"), ["<|user|>"])
    assert pieces == [[], [], [("<", 0), ("|", 1)]]
    assert not stream.stopped


def test_of_stop_strings_in_one_token_that_which_begins_first_counts() -> None:
    pieces, stream = pieces_of([TOKENIZER.eot_token], ["doft", "|end", "?"])
    assert (joined(pieces), stream.stopped) == ("<", True)


def test_a_stop_string_that_is_complete_sooner_counts_before_one_that_begins_sooner() -> None:
    pieces, _ = pieces_of(ids_of_bytes("xabc"), ["abc", "b"])
    assert joined(pieces) == "xa"


def test_an_emoji_may_stop_a_text() -> None:
    pieces, stream = pieces_of(ids_of_bytes("a😀b"), ["😀"])
    assert (joined(pieces), stream.stopped) == ("a", True)


def test_a_text_that_has_stopped_takes_no_more() -> None:
    stream = TextStream(TOKENIZER, ["a"])
    assert [stream.add(i) for i in ids_of_bytes("abc😀")[:-1]] == 6 * [[]]
    assert stream.finish() == []


def test_an_id_that_has_no_token_is_an_error() -> None:
    with pytest.raises(UnknownTokenError, match="300"):
        TextStream(TOKENIZER).add(300)


@given(IDS)
def test_pieces_together_are_the_text_and_come_in_the_order_of_their_tokens(ids: list[int]) -> None:
    pieces, _ = pieces_of(ids)
    assert joined(pieces) == TOKENIZER.decode(ids)
    tokens = [token for some in pieces for _, token in some]
    assert tokens == sorted(tokens)
    assert set(tokens) <= set(range(len(ids)))


@given(IDS | WRITTEN, st.lists(st.text("ab é😀\ufffd<", min_size=1, max_size=3), max_size=3))
def test_pieces_end_before_the_first_stop_string(ids: list[int], stop: list[str]) -> None:
    pieces, stream = pieces_of(ids, stop)
    expected = cut_at_stop(ids, stop)
    assert joined(pieces) == expected
    assert stream.stopped == any(one in TOKENIZER.decode(ids) for one in stop)


@given(WRITTEN, st.data())
def test_a_part_of_the_text_as_stop_string_is_found(ids: list[int], data: st.DataObject) -> None:
    text = TOKENIZER.decode(ids) or "a"
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    pieces, _ = pieces_of(ids, [text[start:end]])
    assert joined(pieces) == cut_at_stop(ids, [text[start:end]])
