"""Which of several choices a model finds the likeliest: the machinery of ARC, PIQA and others.

The figures are those of lm-eval 0.4's output type multiple_choice on the same rows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpt2.errors import DataError
from gpt2.evaluate.bootstrap import standard_error
from gpt2.evaluate.data_files import DataRow, index_at, text_at, texts_at
from gpt2.evaluate.measure import Measure, measure
from gpt2.evaluate.packing import Question
from gpt2.evaluate.results import Result
from gpt2.evaluate.scoring import Score, Scorer
from llm_tokenizer import Tokenizer

DELIMITER = " "  # between a query and a choice


@dataclass(frozen=True, kw_only=True)
class Item:
    """A question in text: choices that continue one query, or contexts with one continuation."""

    place: str  # where it was read
    pairs: tuple[tuple[str, str], ...]  # for each choice the context and what follows it
    lengths: tuple[int, ...]  # characters of each choice
    gold: int  # the right one


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """An item as token ids."""

    questions: list[Question]  # one with all choices, or one a choice
    lengths: tuple[int, ...]  # what nats are divided by
    gold: int


def multiple_choice(
    scorer: Scorer, rows: Iterable[tuple[str, DataRow]], *, measure: Measure = measure
) -> Result:
    """Measure how often the right choice is the likeliest one.

    Args:
        scorer: Scores the choices.
        rows: Each after its place: {"query", "choices", "gold"}, to which "delimiter" may be added,
            or {"contexts", "continuation", "gold"}.
        measure: How the questions are scored.
    Raises:
        DataError: A row is bad or too long, or there is none.
        NotFiniteError: A loss is not finite.
    """
    items = [item_of(place, row) for place, row in rows]
    tokenizer = scorer.model.require_tokenizer()
    encodings = [encoded(item, tokenizer) for item in items]
    check_lengths([item.place for item in items], encodings, scorer)
    hits = hits_of(scorer, encodings, measure)
    return accuracies("multiple-choice", {"acc": hits[:, 0], "acc_norm": hits[:, 1]})


def accuracies(
    evaluation: str,
    hits: dict[str, NDArray[np.float64]],
    *,
    references: dict[str, dict[str, float]] | None = None,
    notes: Sequence[str] = (),
) -> Result:
    """Return the means of hits, 0 or 1 a row, by figure, with their standard errors."""
    return Result(
        evaluation=evaluation,
        counts={"rows": len(next(iter(hits.values())))},
        figures={name: float(values.mean()) for name, values in hits.items()},
        standard_errors={name: standard_error(values) for name, values in hits.items()},
        references=references or {},
        notes=tuple(notes),
    )


def item_of(place: str, row: DataRow) -> Item:
    """Return a row of the documented form as an item.

    Raises:
        DataError: A key is missing, or a value is none that it can hold.
    """
    if "contexts" in row:
        contexts, continuation = (
            texts_at(place, row, "contexts"),
            text_at(place, row, "continuation"),
        )
        return checked_item(place, row, [(each, continuation) for each in contexts], contexts)
    query, choices = text_at(place, row, "query"), texts_at(place, row, "choices")
    delimiter = text_at(place, row, "delimiter") if "delimiter" in row else DELIMITER
    return checked_item(place, row, [(query, delimiter + each) for each in choices], choices)


def checked_item(
    place: str, row: DataRow, pairs: Sequence[tuple[str, str]], choices: Sequence[str]
) -> Item:
    """Return an item whose right choice is the row's "gold".

    Raises:
        DataError: There is one choice alone, one is empty, or "gold" is no choice.
    """
    if len(choices) < 2 or not all(choices):
        raise DataError(f"{place} must have two or more choices, none of them empty")
    return Item(
        place=place,
        pairs=tuple(pairs),
        lengths=tuple(map(len, choices)),
        gold=index_at(place, row, "gold", len(choices)),
    )


def encoded(item: Item, tokenizer: Tokenizer) -> Encoded:
    """Return the questions of an item; choices after the same context share one.

    Raises:
        DataError: A choice adds no token to its context.
    """
    questions: dict[str, Question] = {}
    for context, continuation in item.pairs:
        head, tail = encode_pair(context, continuation, tokenizer)
        if not tail:
            raise DataError(f"{item.place}: {continuation!r} must add a token to what it continues")
        before = questions.get(context)
        tails = [*before.continuations, tail] if before else [tail]
        questions[context] = Question(head, tails)
    if len(questions) not in (1, len(item.pairs)):
        raise DataError(f"{item.place}: the contexts must all differ")
    return Encoded(questions=list(questions.values()), lengths=item.lengths, gold=item.gold)


def encode_pair(
    context: str, continuation: str, tokenizer: Tokenizer
) -> tuple[list[int], list[int]]:
    """Return the ids of a context, and those that a continuation adds to it.

    White space at the end of the context begins the continuation, as a token of GPT-2 begins with
    the space before a word. Without a context, <|endoftext|> is one.

    Source: The rule of lm-eval, so that its figures can be had.
    """
    kept = context.rstrip()
    whole = context + continuation
    if not kept:
        return [tokenizer.eot_token], tokenizer.encode_ordinary(whole)
    head = tokenizer.encode_ordinary(kept)
    return head, tokenizer.encode_ordinary(whole)[len(head) :]


def check_lengths(places: Sequence[str], items: Sequence[Encoded], scorer: Scorer) -> None:
    """Make sure that the model can read every choice.

    Raises:
        DataError: A choice has more tokens than the model reads.
    """
    for place, item in zip(places, items, strict=True):
        for question in item.questions:
            check_length(place, question, scorer)


def check_length(place: str, question: Question, scorer: Scorer) -> None:
    """Make sure that the model can read every continuation.

    Args:
        place: Where the question was read.
        question: Its context may be too long, as it loses its beginning.
        scorer: Of the model.
    Raises:
        DataError: A continuation has more tokens than the model reads.
    """
    longest, count = scorer.model.config.n_positions, max(map(len, question.continuations))
    if count > longest:
        raise DataError(
            f"{place}: what is scored must have at most {longest} tokens, as many as the model "
            f"reads, got {count}"
        )


def hits_of(
    scorer: Scorer, items: Sequence[Encoded], measure: Measure, *, items_a_row: int = 1
) -> NDArray[np.float64]:  # N items -> (N, 2)
    """Return for each item, as 0 or 1, whether the right choice is the likeliest one.

    In the first column by its nats, in the second by its nats divided by its length.

    Args:
        scorer: Scores the questions.
        items: At least one.
        measure: How they are scored; progress counts rows of the data.
        items_a_row: Items that are made of each row.
    Raises:
        DataError: There is no item.
    """
    if not items:
        raise DataError("the data must have rows, and have none")
    questions = [question for item in items for question in item.questions]

    def numbers_of(number: int, scores: list[Score]) -> list[float]:
        # Equal choices have equal nats, which rounding would make unequal, so the first one counts.
        choices = questions[number].continuations
        return [scores[choices.index(each)].total for each in choices]

    shares = [1 / len(item.questions) / items_a_row for item in items for _ in item.questions]
    numbers = iter(measure(scorer, questions, numbers_of, weights=shares))
    nats = [[x for _ in item.questions for x in next(numbers)] for item in items]
    return np.array([hits(item, each) for item, each in zip(items, nats, strict=True)])


def hits(item: Encoded, nats: Sequence[float]) -> tuple[float, float]:
    """Return whether the right choice has the fewest nats, and the fewest for its length.

    Of equal ones the first counts as the likeliest. One without a length is never so for it: an
    ending of HellaSwag may be a mark alone, which lm-eval removes.
    """
    with np.errstate(divide="ignore"):
        by_length = np.array(nats) / np.array(item.lengths)
    return float(np.argmin(nats) == item.gold), float(np.argmin(by_length) == item.gold)
