import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_tokenizer.splitter import last_cut, split, split_by_line

ASCII_TEXT = st.text(st.characters(max_codepoint=0x7F) | st.sampled_from("ab'slve \n1!"))


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


@given(ASCII_TEXT)
def test_a_text_in_ascii_splits_as_before_a_letter_that_is_none(text: str) -> None:
    assert split(text + "\ne") == [*split(text + "\né")[:-1], "e"]


@given(st.text(st.sampled_from("ab'slve \n\u3000é日1!\u0301")), st.text(st.sampled_from("lts 1!b")))
def test_a_text_cut_in_two_splits_as_the_whole(text: str, more: str) -> None:
    cut = last_cut(text)
    assert split(text[:cut]) + split(text[cut:] + more) == split(text + more)


@pytest.mark.parametrize(("text", "cut"), [("", 0), ("abc", 0), ("   ", 0), ("a b", 1), ("x1'", 2)])
def test_the_last_cut_is_where_a_piece_ends_in_any_case(text: str, cut: int) -> None:
    assert last_cut(text) == cut


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("'s", [1]),
        ("a é", [2, 2]),
        (" 7", [3]),
        (" ?!\u0301", [4]),
        ("a \n", [2, 5]),
        ("\nb", [6, 2]),
    ],
)
def test_each_piece_has_the_line_of_the_rule_that_took_it(text: str, lines: list[int]) -> None:
    assert [line for line, _ in split_by_line(text)] == lines


@given(st.text(st.sampled_from("ab'slve \n\u3000é日1!\u0301")))
def test_the_pieces_are_the_same_with_and_without_their_lines(text: str) -> None:
    assert [piece for _, piece in split_by_line(text)] == split(text)
