"""Whether a model knows how a text goes on: cloze tests, of which LAMBADA is one.

A continuation counts as known if each of its tokens is the likeliest one, so that greedy decoding
would write it. The figures are those of lm-eval 0.4's output type loglikelihood on the same rows.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from gpt2.errors import DataError
from gpt2.evaluate.bootstrap import resampled_means, standard_error
from gpt2.evaluate.data_files import DataRow, text_at
from gpt2.evaluate.measure import Measure, measure
from gpt2.evaluate.multiple_choice import check_length, encode_pair
from gpt2.evaluate.packing import Question
from gpt2.evaluate.results import Result
from gpt2.evaluate.scoring import Score, Scorer
from llm_tokenizer import Tokenizer


def cloze(
    scorer: Scorer, rows: Iterable[tuple[str, DataRow]], *, measure: Measure = measure
) -> Result:
    """Measure how well a model predicts the continuations of contexts.

    Args:
        scorer: Scores the continuations.
        rows: Each after its place: {"context", "continuation"}.
        measure: How the questions are scored.
    Raises:
        DataError: A row is bad or too long, or there is none.
        NotFiniteError: A loss is not finite.
    """
    tokenizer = scorer.model.require_tokenizer()
    questions = [
        (
            place,
            gap(
                place,
                text_at(place, row, "context"),
                text_at(place, row, "continuation"),
                tokenizer,
            ),
        )
        for place, row in rows
    ]
    nats, is_greedy, _ = numbers_of(scorer, questions, measure).T
    return predicted("cloze", nats, {"accuracy": is_greedy})


def gap(place: str, context: str, continuation: str, tokenizer: Tokenizer) -> Question:
    """Return the question how a context goes on.

    Raises:
        DataError: The continuation adds no token.
    """
    head, tail = encode_pair(context, continuation, tokenizer)
    if not tail:
        raise DataError(f"{place}: the continuation must add a token, got {continuation!r}")
    return Question(head, [tail])


def numbers_of(
    scorer: Scorer, questions: Sequence[tuple[str, Question]], measure: Measure
) -> NDArray[np.float64]:  # N questions -> (N, 3)
    """Return nats, and as 0 or 1 whether all tokens and whether the last one are the likeliest.

    Args:
        scorer: Scores the continuations.
        questions: Each after its place.
        measure: How they are scored.
    Raises:
        DataError: There is no question, or a continuation is longer than the model reads.
    """
    if not questions:
        raise DataError("the data must have rows, and have none")
    for place, question in questions:
        check_length(place, question, scorer)

    def numbers(_: int, scores: list[Score]) -> list[float]:
        [score] = scores
        return [score.total, float(score.is_greedy), float(score.hits[-1])]

    return np.array(measure(scorer, [each for _, each in questions], numbers))


def predicted(
    evaluation: str,
    nats: NDArray[np.float64],
    hits: dict[str, NDArray[np.float64]],
    *,
    references: dict[str, dict[str, float]] | None = None,
    notes: Sequence[str] = (),
) -> Result:
    """Return accuracies and perplexity, each with its standard error.

    Args:
        evaluation: Its name.
        nats: Of each continuation, whatever its tokens, (N,).
        hits: Of each accuracy 0 or 1 a row, (N,).
        references: Published values of the figures.
        notes: Lines on how it was measured.
    """
    with np.errstate(over="ignore"):  # infinity, beyond the range of a float
        perplexity = float(np.exp(nats.mean()))
        drawn = np.exp(resampled_means(nats[:, None]))
    spread = float(drawn.std(ddof=1)) if len(nats) > 1 and np.isfinite(drawn).all() else None
    means = {name: float(each.mean()) for name, each in hits.items()}
    errors = {name: standard_error(each) for name, each in hits.items()}
    return Result(
        evaluation=evaluation,
        counts={"rows": len(nats)},
        figures={**means, "perplexity": perplexity},
        standard_errors={**errors, "perplexity": spread},
        references=references or {},
        notes=tuple(notes),
    )
