import re

import pytest

from llm_tokenizer import Tokenizer
from llm_tokenizer.explaining import MOST_PIECES, explain
from llm_tokenizer.explaining_text import colored, text_lines
from llm_tokenizer.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def lower() -> Tokenizer:
    """A vocabulary of three merges and a special token."""
    merges = [(b"l", b"o"), (b"e", b"r"), (b"lo", b"w")]
    return Tokenizer(Vocabulary.from_merges(merges, ["<|end|>"]))


def lines_of(tokenizer: Tokenizer, text: str) -> list[str]:
    return list(text_lines(explain(tokenizer, text, allowed_special="all")))


EXACT = """\
1. The text is cut into pieces
   The first line of the split rule that fits takes as much as it can. No token crosses
   a cut. The lines used here:
   2  letters, with one space before them if there is one

   piece      line  takes            ends
   "lower"       2  letters          before a special token
   "<|end|>"     -  a special token  with the token
   "lower"       2  letters          with the text

2. Each piece: from bytes to tokens
   A piece begins as its bytes; vocab.json writes each as one character. Of all
   neighbours that have a merge, ── joins those of the lowest rank, until none have one.
   Merges under "later" wait for it. The vocabulary has 3 merges; ranks count from 0.

   "lower", 2 times in the text
     text        l  o  w  e  r
     bytes       6C 6F 77 65 72
     vocab.json  l  o  w  e  r
     rank     0  l──o  w  e  r   l + o = lo; later: e r 1
     rank     1  lo    w  e──r   e + r = er; later: lo w 2
     rank     2  lo────w  er     lo + w = low
     tokens      low      er     no neighbours have a merge
     id     258  "low"
     id     257  "er"

   "<|end|>"
     a special token: one id, and no merges
     id     259  "<|end|>"

3. The ids of the text
   258 257 259 258 257
   17 bytes in 5 tokens: 3.4 bytes a token
"""


def test_a_text_is_explained_from_its_pieces_to_its_ids(lower: Tokenizer) -> None:
    assert "\n".join([*lines_of(lower, "lower<|end|>lower"), ""]) == EXACT


def test_color_changes_nothing_but_the_color(released: Tokenizer) -> None:
    explanation = explain(released, "Hello, naïve world")
    lines = "\n".join(text_lines(explanation, colored))
    assert "\x1b[1;38;5;16;48;5;223ml──l\x1b[0m" in lines
    assert re.sub(r"\x1b\[[0-9;]*m", "", lines) == "\n".join(text_lines(explanation))


def test_at_most_three_waiting_pairs_are_listed_the_lowest_rank_first(released: Tokenizer) -> None:
    (line,) = (line for line in lines_of(released, " world") if line.endswith("and 1 more"))
    assert line.endswith("Ġ + w = Ġw; later: o r 17, l d 79, w o 21382 and 1 more")


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("日本", ["日       本", "E6 97 A5 E6 9C AC", "æ  Ĺ  ¥  æ  ľ  ¬"]),
        ("！？", ["！       ？", "EF BC 81 EF BC 9F", "ï  ¼  ģ  ï  ¼  Ł"]),
        (" 😀", ["␣  😀", "20 F0 9F 98 80", "Ġ  ð  Ł  ĺ  Ģ"]),
        ("\u0301\u0302", ["◌\u0301     ◌\u0302", "CC 81 CC 82", "Ì  ģ  Ì  Ĥ"]),
        ("של", ["ש     ל", "D7 A9 D7 9C", "×  ©  ×  ľ"]),
        ("\x1b\x07\x7f", ["␛  ␇  ␡", "1B 07 7F", "ě  ć  ġ"]),
        ("\u200d!", ["\\u200d   !", "E2 80 8D 21", "â  Ģ  į  !"]),
    ],
)
def test_a_column_is_a_byte_in_any_script(released: Tokenizer, text: str, rows: list[str]) -> None:
    lines = lines_of(released, text)
    first = lines.index(next(line for line in lines if line.startswith("     text")))
    assert [line[17:] for line in lines[first : first + 3]] == rows


def test_the_pieces_are_listed_in_columns_where_characters_are_wide(released: Tokenizer) -> None:
    lines = lines_of(released, "日本 e\u0301")
    table = lines.index("   piece   line  takes                 ends") + 1
    assert lines[table : table + 3] == [
        '   "日本"     2  letters               before " ", no letter',
        '   " e"       2  a space and a letter  before "◌\u0301", no letter',
        '   "◌\u0301"        4  a sign                with the text',
    ]


def test_parts_of_a_character_and_control_characters_are_escaped(released: Tokenizer) -> None:
    text = "\n".join(lines_of(released, "日\x1b[2J\u202e\r\n"))
    assert '     id   33768  "\\xe6\\x97"' in text
    assert not set(text) & set("\x1b\r\u202e")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (" low" * (MOST_PIECES + 7), ["left out: the other 28 characters; `llm-tokenizer show`"]),
        ("=" * 500, ["500 bytes; merges are shown for 64 at most", "and 480 tokens more"]),
        ("=" * 500, [" and 400 more"]),
        ("a" * 100_000, ["100,000 bytes; merges", '"aaaa']),
    ],
)
def test_what_is_left_out_is_named_and_the_output_is_bounded(
    lower: Tokenizer, text: str, said: list[str]
) -> None:
    lines = lines_of(lower, text)
    for part in said:
        assert part in "\n".join(lines)
    assert len(lines) < 200
    assert max(map(len, lines)) < 600


def test_an_empty_text_is_named_as_such(lower: Tokenizer) -> None:
    assert lines_of(lower, "") == ["the text is empty: no pieces, no tokens"]
