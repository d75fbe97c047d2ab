"""The test sets of the GPT-2 paper: how each is divided, detokenized and scored, and its numbers.

Source: Radford et al. 2019, Language Models are Unsupervised Multitask Learners, section 3.1 and
table 3. The paper describes its detokenizers and does not print them. That of WikiText here gives
the text that lm-evaluation-harness gives.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from gpt2.evaluate.data_files import DataRow, HubFile, text_at
from gpt2.evaluate.lambada import ON_HUB as LAMBADA_ON_HUB
from gpt2.evaluate.lambada import PAPER, detokenized, straightened
from gpt2.evaluate.multiple_choice import encode_pair
from gpt2.evaluate.perplexity import Text, as_text
from gpt2.evaluate.references import of_sizes
from llm_tokenizer import Tokenizer, well_formed

CorpusName = Literal["wikitext103", "wikitext2", "ptb", "enwik8", "text8", "lambada"]


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A test set, and in which forms of rows it comes; without settings any text, as it is."""

    figure: str = ""  # which of the conventions the paper's numbers are to be set beside
    published: tuple[float, ...] = ()  # of the four sizes
    note: str = "texts by themselves, as they are"
    divide: Callable[[str], list[str]] = lambda text: [text]  # a file into documents
    detokenize: Callable[[str], str] = lambda text: text
    scores_last_word: bool = False  # what comes before it is given
    document_column: str | None = "text"  # of rows that are documents
    line_column: str | None = None  # of rows that make up a file
    line_end: str = ""
    hub: HubFile | None = None

    def documents(self, rows: Iterable[tuple[str, DataRow]]) -> list[str]:
        """Return the documents of rows, each after its place.

        Raises:
            DataError: A row has no text.
        """
        rows = list(rows)
        columns = [self.document_column, self.line_column]
        first = rows[0][1] if rows else {}
        column = next((c for c in columns if c in first), columns[0] or columns[1])
        assert column is not None  # each corpus has one
        texts = [text_at(place, row, column) for place, row in rows]
        if column == self.document_column:
            return texts
        return self.divide("".join(text + self.line_end for text in texts))

    @property
    def references(self) -> dict[str, dict[str, float]]:
        """The paper's numbers, beside the figure."""
        return {self.figure: of_sizes(*self.published)} if self.published else {}

    def texts(self, documents: Iterable[str], tokenizer: Tokenizer) -> list[Text]:
        """Return documents as the paper scores them; lengths are those before detokenizing."""
        if self.scores_last_word:
            return [last_word(self.detokenize(each), tokenizer) for each in documents]
        return [as_text(self.detokenize(each), tokenizer, before=each) for each in documents]


def last_word(passage: str, tokenizer: Tokenizer) -> Text:
    """Return a passage whose last word alone is scored, the space before it included."""
    context, space, word = well_formed(passage).rpartition(" ")
    given, scored = encode_pair(context, space + word, tokenizer)
    return Text(
        ids=[*given, *scored],
        given=len(given),
        bytes=len(word.encode()),
        characters=len(word),
        words=1,
    )


def wikitext_pages(text: str) -> list[str]:
    """Divide a file of WikiText into its articles: each begins with a line = Title =."""
    titles = re.finditer(r"^ ?= [^=\n].* = ?$", text, re.MULTILINE)
    edges = [0, *(title.start() for title in titles), len(text)]
    pages = (text[start:end] for start, end in pairwise(edges))
    return [page for page in pages if page.strip()]


# What WikiText's tokenizer has put apart, in the order in which it is put together again.
_WIKITEXT_BEFORE = {
    "s '": "s'",
    " @-@ ": "-",
    " @,@ ": ",",
    " @.@ ": ".",
    " : ": ": ",
    " ; ": "; ",
    " . ": ". ",
    " ! ": "! ",
    " ? ": "? ",
    " , ": ", ",
}
_WIKITEXT_PAIRS = ("()", "[]", "{}", '""', "''")
_WIKITEXT_AFTER = {
    "= = = =": "====",
    "= = =": "===",
    "= =": "==",
    " ° ": "°",
    " \n": "\n",
    "\n ": "\n",
    " N ": " 1 ",
    " 's": "'s",
}
_PTB = {" n't": "n't", " '": "'", "$ ": "$", "# ": "#", " \n": "\n", "\n ": "\n"}


def detokenized_wikitext(text: str) -> str:
    """Return WikiText as it was written, as far as that can be known."""
    text = _replaced(text, _WIKITEXT_BEFORE)
    for pair in _WIKITEXT_PAIRS:
        text = _closed(text, pair[0], pair[1])
    return _replaced(text, _WIKITEXT_AFTER)


def detokenized_ptb(text: str) -> str:
    """Return the Penn Treebank's sentences as text, numbers being 1; <unk> stays."""
    return _replaced(re.sub(r"\bN\b", "1", text), _PTB).strip(" ")


def last_twentieth(text: str) -> list[str]:
    """Return the end of enwik8 or text8, which is their test set; a shorter file is taken whole.

    Both are 100 million bytes long, of which by custom the last 5 million are tested on.
    """
    content = text.encode()
    if len(content) != 100_000_000:
        return [text]
    return [content[95_000_000:].decode(errors="replace")]


def _closed(text: str, opening: str, closing: str) -> str:
    """Return a text without the white space at the inner sides of pairs of brackets or quotes."""
    first, last = re.escape(opening), re.escape(closing)
    inside = rf"{first}([^{last}]*){last}"
    # Only up to the last closing one, so that no opening one is looked at to the end in vain.
    paired, end, rest = text.rpartition(closing)
    return re.sub(inside, lambda m: opening + m[1].strip() + closing, paired + end) + rest


def _replaced(text: str, replacements: dict[str, str]) -> str:
    for old, new in replacements.items():
        text = text.replace(old, new)
    return text


_WIKITEXT_HUB = "EleutherAI/wikitext_document_level"

CORPORA: dict[CorpusName, Corpus] = {
    "wikitext103": Corpus(
        divide=wikitext_pages,
        detokenize=detokenized_wikitext,
        figure="word_perplexity",
        published=(37.50, 26.37, 22.05, 17.48),
        document_column="page",
        line_column="text",
        hub=HubFile(_WIKITEXT_HUB, "wikitext-103-raw-v1/test"),
        note="articles by themselves, detokenized; the paper's numbers are per word",
    ),
    "wikitext2": Corpus(
        divide=wikitext_pages,
        detokenize=detokenized_wikitext,
        figure="token_perplexity",
        published=(29.41, 22.76, 19.93, 18.34),
        document_column="page",
        line_column="text",
        hub=HubFile(_WIKITEXT_HUB, "wikitext-2-raw-v1/test"),
        note="articles by themselves, detokenized; the paper's numbers are those of tokens, "
        "although it speaks of words",
    ),
    "ptb": Corpus(
        detokenize=detokenized_ptb,
        figure="word_perplexity",
        published=(65.85, 47.33, 40.31, 35.76),
        document_column=None,
        line_column="sentence",
        line_end="\n",
        hub=HubFile("ptb-text-only/ptb_text_only", "penn_treebank/test"),
        note="sentences after one another, detokenized",
    ),
    "enwik8": Corpus(
        divide=last_twentieth,
        figure="bits_per_byte",
        published=(1.16, 1.01, 0.97, 0.93),
        note="as it is; of the whole file the last 5 million bytes",
    ),
    "text8": Corpus(
        divide=last_twentieth,
        figure="bits_per_character",
        published=(1.17, 1.06, 1.02, 0.98),
        hub=HubFile("afmck/text8", "default/test"),
        note="as it is; of the whole file the last 5 million characters",
    ),
    "lambada": Corpus(
        divide=lambda text: [detokenized(line) for line in text.split("\n") if line.strip()],
        detokenize=straightened,
        scores_last_word=True,
        figure="word_perplexity",
        published=PAPER["perplexity"],
        hub=LAMBADA_ON_HUB,
        note="the last word of each passage, what comes before it being given",
    ),
}
