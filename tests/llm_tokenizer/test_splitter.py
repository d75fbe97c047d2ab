import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_tokenizer.splitter import split


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        ("Hello, world", ["Hello", ",", " world"]),
        ("it's we'll I'S", ["it", "'s", " we", "'ll", " I", "'", "S"]),  # lower case only
        ("a  b", ["a", " ", " b"]),  # one space goes with the word
        ("a \n b", ["a", " \n", " b"]),
        ("a\n\nb", ["a", "\n", "\n", "b"]),  # a line break goes with no word
        ("end  ", ["end", "  "]),  # at the end white space stays whole
        ("x1y22", ["x", "1", "y", "22"]),
        (" ?!a", [" ?!", "a"]),
        ("a\u0085b\u001cc", ["a", "\u0085", "b", "\u001c", "c"]),
        ("é\u0301e", ["é", "\u0301", "e"]),  # a combining mark is no letter
    ],
)
def test_text_splits_by_the_rule(text: str, pieces: list[str]) -> None:
    assert split(text) == pieces


def test_the_control_characters_1c_to_1f_are_no_white_space() -> None:
    # Python's str.isspace says they are; GPT-2's rule says they are not.
    assert split("\u001c\u001d\u001e\u001f x") == ["\u001c\u001d\u001e\u001f", " x"]


@given(st.text())
def test_no_character_is_lost(text: str) -> None:
    assert "".join(split(text)) == text
