import re
from html.parser import HTMLParser

import pytest

from llm_tokenizer import Tokenizer
from llm_tokenizer.explaining import MOST_PIECES, explain
from llm_tokenizer.explaining_page import page
from llm_tokenizer.vocabulary import Vocabulary

VOID = {"meta"}


class Reader(HTMLParser):
    """Read a page whose tags are all closed: its labels, and by row the cells, text and columns."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.labels: list[str | None] = []
        self.rows: list[list[tuple[int, str]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.labels += [value for name, value in attrs if name == "aria-label"]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append((int(dict(attrs).get("colspan") or 1), ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.open):
            columns, text = self.rows[-1][-1]
            between = " " if "small" in self.open else ""
            self.rows[-1][-1] = (columns, text + between + data)


@pytest.fixture(scope="module")
def lower() -> Tokenizer:
    """A vocabulary of three merges and a special token."""
    merges = [(b"l", b"o"), (b"e", b"r"), (b"lo", b"w")]
    return Tokenizer(Vocabulary.from_merges(merges, ["<|end|>"]))


def page_of(tokenizer: Tokenizer, text: str) -> str:
    return page(explain(tokenizer, text, allowed_special="all"))


def test_a_piece_is_a_table_of_a_column_a_byte_in_which_tokens_grow(lower: Tokenizer) -> None:
    rows = Reader(page_of(lower, "lower")).rows
    assert rows[2:] == [
        [(1, "text"), (1, "l"), (1, "o"), (1, "w"), (1, "e"), (1, "r")],
        [(1, "bytes"), (1, "6C"), (1, "6F"), (1, "77"), (1, "65"), (1, "72")],
        [(1, "merge 1"), (1, "l"), (1, "o 0"), (1, "w"), (1, "e"), (1, "r 1")],
        [(1, "merge 2"), (2, "lo"), (1, "w 2"), (1, "e"), (1, "r 1")],
        [(1, "merge 3"), (2, "lo"), (1, "w 2"), (2, "er")],
        [(1, "tokens"), (3, "low 258"), (2, "er 257")],
    ]


def test_the_lowest_rank_and_the_newest_token_are_marked(lower: Tokenizer) -> None:
    text = page_of(lower, "lower")
    assert re.findall(r'"rank best">(\d)<', text) == ["0", "1", "2"]
    assert re.findall(r'class="new[ a-z]*"><bdi>(\w+)<', text) == ["lo", "er"]


def test_a_character_spans_its_bytes_and_tokens_may_cut_it(released: Tokenizer) -> None:
    rows = Reader(page_of(released, "日😀")).rows
    text = [row for row in rows if row[0][1] == "text"]
    assert text == [[(1, "text"), (3, "日")], [(1, "text"), (4, "😀")]]
    tokens = [row for row in rows if row[0][1] == "tokens"]
    assert [columns for columns, _ in tokens[0][1:]] == [2, 1]


def test_a_merge_in_words_lists_the_pairs_that_wait(lower: Tokenizer) -> None:
    text = page_of(lower, "lower")
    assert (
        "<li><code>l</code> + <code>o</code> = <code>lo</code>, rank 0; "
        "with a higher rank: <code>e</code> <code>r</code> 1</li>" in text
    )


def test_at_most_five_waiting_pairs_are_listed_in_words(released: Tokenizer) -> None:
    first, *_ = re.findall(r"<li><code>Ġ</code> \+ .*?</li>", page_of(released, " tokenization"))
    assert first.startswith("<li><code>Ġ</code> + <code>t</code> = <code>Ġt</code>, rank 0; ")
    waiting = re.findall(r"</code> (\d+)", first)
    assert waiting == ["5", "9", "12", "109", "226"]
    assert first.endswith(" and 6 more</li>")


def test_a_repeated_piece_is_drawn_once_and_each_place_leads_to_it(lower: Tokenizer) -> None:
    text = page_of(lower, "low low low<|end|><|end|>")
    assert re.findall(r'href="#(piece-\d)"', text) == [f"piece-{i}" for i in (0, 1, 1, 2, 2)]
    assert re.findall(r'<li id="(piece-\d)"', text) == ["piece-0", "piece-1", "piece-2"]
    assert "4 bytes, 2 tokens, 2 times in the text" in text
    assert "a special token: one id, no merges" in text


@pytest.mark.parametrize(
    "text",
    ['<script>alert("1")</script>', '"><img src=x onerror=alert(1)>', "&lt;{}{style}", "\x00\x1b"],
)
def test_the_text_is_shown_and_never_read_as_html(released: Tokenizer, text: str) -> None:
    reader = Reader(page_of(released, text))
    assert not reader.tags & {"script", "img"}
    shown = "".join(cell for row in reader.rows if row[0][1] == "text" for _, cell in row[1:])
    distinct = "".join(piece.text for piece in explain(released, text).distinct)
    assert shown == distinct.translate({0x20: "␣", 0: "␀", 0x1B: "␛"})


def test_the_text_stays_inside_of_attributes_and_sentences(released: Tokenizer) -> None:
    text = page_of(released, "a<\">'&amp;")
    assert Reader(text).labels[2:4] == ['Merges of "a"', 'Merges of "<">\'&"']
    assert "<title>How &quot;a&lt;&quot;&gt;&#x27;&amp;amp;&quot; becomes tokens</title>" in text
    assert "before &quot;&lt;&quot;, no letter" in text


def test_the_page_needs_no_network_and_no_script(released: Tokenizer) -> None:
    text = page_of(released, "Hello, world")
    assert not re.search(r"https?:|url\(|@import|<script|<link|\bsrc=|\bon\w+=", text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (" low" * (MOST_PIECES + 7), "Left out: the other 28 characters of the text"),
        ("=" * 500, "its merges are left out: pieces of up to 64 bytes show them"),
        ("=" * 500, "and 300 tokens more"),
        ("=" * 500, "and 300 more</p>"),
        ("", "The text is empty: no pieces, no tokens."),
    ],
)
def test_what_is_left_out_is_named(lower: Tokenizer, text: str, said: str) -> None:
    content = page_of(lower, text)
    Reader(content)
    assert said in content
    assert len(content) < 150_000
