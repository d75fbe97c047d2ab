"""HellaSwag: which of four endings a model finds the likeliest, in the two usual conventions.

Completion style, as build-nanogpt and llm.c have it: the context as it is, nats divided by tokens.
lm-eval's: the activity before the context, artifacts of its source removed, nats divided by
characters.

Source: Zellers et al. 2019, arXiv:1905.07830.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from gpt2.errors import DataError
from gpt2.evaluate.data_files import DataRow, HubFile, index_at, text_at, texts_at
from gpt2.evaluate.measure import Measure, measure
from gpt2.evaluate.multiple_choice import (
    Encoded,
    Item,
    accuracies,
    check_lengths,
    encoded,
    hits_of,
)
from gpt2.evaluate.packing import Question
from gpt2.evaluate.references import SIZES, of_sizes
from gpt2.evaluate.results import Result
from gpt2.evaluate.scoring import Scorer
from llm_tokenizer import Tokenizer

ON_HUB = HubFile("Rowan/hellaswag", "default/validation")
ENDINGS = 4

SMALL, *_, XL = SIZES
# Of the released sizes. All but completion_acc_norm, which llm.c has, are those that
# build-nanogpt quotes in its hellaswag.py. The first figure has all sizes: the columns of a table
# are in the order in which labels come.
REFERENCES = {
    "completion_acc_norm": of_sizes(0.2945, 0.3752, 0.4320, 0.4889),
    "acc": {SMALL: 0.2892, XL: 0.4004},
    "acc_norm": {SMALL: 0.3114, XL: 0.5089},
    "completion_acc": {SMALL: 0.2859, XL: 0.3842},
}
NOTES = (
    "acc, acc_norm: as lm-eval, with the activity, nats by characters",
    "completion_acc, completion_acc_norm: as build-nanogpt and llm.c, nats by tokens",
)


@dataclass(frozen=True, kw_only=True)
class HellaSwagRow:
    """A row of the data set."""

    place: str
    activity: str
    parts: tuple[str, str]  # of the context: whole sentences, and the beginning of the last one
    context: str
    endings: tuple[str, ...]
    label: int


def hellaswag(
    scorer: Scorer, rows: Iterable[tuple[str, DataRow]], *, measure: Measure = measure
) -> Result:
    """Measure how often the right ending is the likeliest one.

    Args:
        scorer: Scores the endings.
        rows: Each after its place; of the data set's own files, or of the hub's.
        measure: How the questions are scored.
    Raises:
        DataError: A row is bad or too long, or there is none.
        NotFiniteError: A loss is not finite.
    """
    tokenizer = scorer.model.require_tokenizer()
    checked = [checked_row(place, row) for place, row in rows]
    styles = [
        [encoded(as_in_lm_eval(row), tokenizer) for row in checked],
        [completion(row, tokenizer) for row in checked],
    ]
    for style in styles:
        check_lengths([row.place for row in checked], style, scorer)
    hits = hits_of(
        scorer, [item for style in styles for item in style], measure, items_a_row=len(styles)
    )
    lm_eval, completions = np.split(hits, 2)
    return accuracies(
        "hellaswag",
        {
            "acc": lm_eval[:, 0],
            "acc_norm": lm_eval[:, 1],
            "completion_acc": completions[:, 0],
            "completion_acc_norm": completions[:, 1],
        },
        references=REFERENCES,
        notes=NOTES,
    )


def checked_row(place: str, row: DataRow) -> HellaSwagRow:
    """Return a row whose values are of their kinds.

    Raises:
        DataError: A key is missing, or a value is none that it can hold.
    """
    endings = texts_at(place, row, "endings")
    if len(endings) != ENDINGS or not all(endings):
        raise DataError(f"{place}: 'endings' must be {ENDINGS} texts, none of them empty")
    return HellaSwagRow(
        place=place,
        activity=text_at(place, row, "activity_label"),
        parts=(text_at(place, row, "ctx_a"), text_at(place, row, "ctx_b")),
        context=text_at(place, row, "ctx"),
        endings=tuple(endings),
        label=index_at(place, row, "label", ENDINGS),
    )


def completion(row: HellaSwagRow, tokenizer: Tokenizer) -> Encoded:
    """Return a row in completion style, its context and its endings encoded one by one."""
    endings = [tokenizer.encode_ordinary(" " + ending) for ending in row.endings]
    context = tokenizer.encode_ordinary(row.context) or [tokenizer.eot_token]
    return Encoded(
        questions=[Question(context, endings)],
        lengths=tuple(map(len, endings)),
        gold=row.label,
    )


def as_in_lm_eval(row: HellaSwagRow) -> Item:
    """Return a row as lm-eval's task hellaswag has it."""
    query = clean(f"{row.activity}: {row.parts[0]} {row.parts[1].capitalize()}")
    endings = [clean(ending) for ending in row.endings]
    return Item(
        place=row.place,
        pairs=tuple((query, " " + ending) for ending in endings),
        lengths=tuple(map(len, endings)),
        gold=row.label,
    )


def clean(text: str) -> str:
    """Return a text without the marks of WikiHow, such as [header], as lm-eval removes them.

    >>> clean(" Boil water [title] Add tea [substeps] now")
    'Boil water. Add tea now'
    """
    without = re.sub(r"\[.*?\]", "", text.strip().replace(" [title]", ". "))
    return without.replace("  ", " ")
