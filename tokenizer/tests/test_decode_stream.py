"""Ids to text while they come: the parts together are what all ids decode to at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_tokenizer import END_OF_TEXT, Tokenizer, UnknownTokenError

IDS = st.lists(st.integers(0, 299), max_size=30)  # of the fixture; most are single bytes
UNLIKELY = (
    b"\xe0\x80",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98",
    b"\xf4\x90",
    b"\xef\xbf\xbd",
    b"\xc3",
    b"a",
)
MANY_BYTES = st.lists(st.sampled_from(UNLIKELY), max_size=8).map(b"".join)


def parts_of(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    stream = tokenizer.decode_stream()
    return [*map(stream.add, ids), stream.finish()]


def ids_of_bytes(tokenizer: Tokenizer, text: bytes) -> list[int]:
    return [tokenizer.encode_single_token(bytes([byte])) for byte in text]


def test_a_character_comes_whole_with_its_last_byte(tokenizer: Tokenizer) -> None:
    ids = ids_of_bytes(tokenizer, "é€😀".encode())
    assert parts_of(tokenizer, ids) == ["", "é", "", "", "€", "", "", "", "😀", ""]


def test_released_tokens_bring_whole_characters(gpt2: Tokenizer) -> None:
    parts = parts_of(gpt2, gpt2.encode("naïve 日本"))
    assert parts == ["na", "ïve", " ", "", "日", "", "本", ""]


def test_what_is_no_character_is_replaced_as_soon_as_that_is_known(tokenizer: Tokenizer) -> None:
    ids = ids_of_bytes(tokenizer, b"\xc3a\x80\xf0\x9f")
    assert parts_of(tokenizer, ids) == ["", "\ufffda", "\ufffd", "", "", "\ufffd"]


def test_a_special_token_is_its_text(tokenizer: Tokenizer) -> None:
    assert parts_of(tokenizer, [tokenizer.eot_token]) == [END_OF_TEXT, ""]


def test_an_unknown_id_raises_and_leaves_the_stream_as_it_was(tokenizer: Tokenizer) -> None:
    stream = tokenizer.decode_stream()
    first, second = ids_of_bytes(tokenizer, "é".encode())
    assert stream.add(first) == ""
    with pytest.raises(UnknownTokenError, match="token id 300 is not in this vocabulary of 300"):
        stream.add(300)
    assert stream.add(second) == "é"


def test_after_the_end_another_text_may_follow(tokenizer: Tokenizer) -> None:
    stream = tokenizer.decode_stream()
    first, second = ids_of_bytes(tokenizer, "é".encode())
    assert [stream.add(first), stream.finish(), stream.add(second)] == ["", "\ufffd", "\ufffd"]
    assert stream.finish() == ""


def test_streams_of_one_tokenizer_do_not_meet(tokenizer: Tokenizer) -> None:
    one, two = tokenizer.decode_stream(), tokenizer.decode_stream()
    first, second = ids_of_bytes(tokenizer, "é".encode())
    assert [one.add(first), two.add(second), one.add(second)] == ["", "\ufffd", "é"]


@given(IDS)
def test_the_parts_together_are_the_text_of_all_ids(tokenizer: Tokenizer, ids: list[int]) -> None:
    assert "".join(parts_of(tokenizer, ids)) == tokenizer.decode(ids)


@given(MANY_BYTES)
def test_bytes_that_are_hardly_utf8_are_replaced_as_all_at_once(
    tokenizer: Tokenizer, text: bytes
) -> None:
    parts = parts_of(tokenizer, ids_of_bytes(tokenizer, text))
    assert "".join(parts) == text.decode("utf-8", "replace")


@given(IDS)
def test_what_has_come_never_changes_with_what_follows(
    tokenizer: Tokenizer, ids: list[int]
) -> None:
    parts, text = parts_of(tokenizer, ids), tokenizer.decode(ids)
    for k in range(len(ids) + 1):
        so_far = "".join(parts[:k])
        assert text.startswith(so_far)
        # At most one character of the first k ids is still to come: its bytes are not all there.
        assert len(tokenizer.decode(ids[:k])) - len(so_far) in (0, 1)
