"""Scores all questions of an evaluation, shows how far it is, and keeps what is done."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, Self

from gpt2.evaluate.packing import Question
from gpt2.evaluate.scoring import Score, Scorer

Numbers = list[float]
NumbersOf = Callable[[int, list[Score]], Numbers]  # is given a question's number and its scores
Show = Callable[[float, float], None]  # is given what is done so far, and all


def show_nothing(done: float, total: float) -> None:
    """Stand in for a display of progress."""


class Measure(Protocol):
    """How an evaluation has its questions scored: `measure`, or a form of it that keeps rows."""

    def __call__(
        self,
        scorer: Scorer,
        questions: Sequence[Question],
        numbers_of: NumbersOf,
        *,
        weights: Sequence[float] | None = None,
    ) -> list[Numbers]:
        """Return some numbers of each question, in order."""


class KeptRows:
    """The numbers of the questions that are done, on disk, so that a later start goes on from them.

    A context: its file is removed at the end, unless an exception ends it.

    Args:
        path: File of JSON lines: what is measured, then a row a question.
        identity: What is measured, as JSON holds it: other rows than those of the same are dropped.
        resume: Whether to go on from the rows of an earlier start.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], *, resume: bool) -> None:
        self._path = path
        self.rows = _read_rows(path, identity) if resume else {}
        lines = [dict(identity), *([number, *row] for number, row in self.rows.items())]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # another process that writes there keeps its own
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._file.writelines(json.dumps(line) + "\n" for line in lines)

    def add(self, number: int, numbers: Numbers) -> None:
        """Note the numbers of a question."""
        self.rows[number] = numbers
        with suppress(OSError):  # a full disk: a later start scores these again
            self._file.write(json.dumps([number, *numbers]) + "\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        with suppress(OSError):
            self._file.close()
        if failure is None:
            self._path.unlink(missing_ok=True)


def measure(
    scorer: Scorer,
    questions: Sequence[Question],
    numbers_of: NumbersOf,
    *,
    weights: Sequence[float] | None = None,
    kept: KeptRows | None = None,
    show: Show = show_nothing,
) -> list[Numbers]:
    """Return some numbers of each question, in order.

    Args:
        scorer: Scores the questions.
        questions: Those that `kept` has are not scored again.
        numbers_of: What to keep of a question's scores.
        weights: What each question adds to the progress, 1 if not given.
        kept: Takes the numbers as they come.
        show: Called before the first question is scored, and after each.
    Raises:
        InputError, NotFiniteError: As `Scorer.score`.
    """
    weights = [1] * len(questions) if weights is None else weights
    done = dict(kept.rows) if kept else {}
    left = [number for number in range(len(questions)) if number not in done]
    so_far, total = sum(weights[number] for number in done), sum(weights)
    show(so_far, total)
    for place, scores in scorer.score(questions[number] for number in left):
        number = left[place]
        done[number] = numbers_of(number, scores)
        if kept:
            kept.add(number, done[number])
        so_far += weights[number]
        show(so_far, total)
    return [done[number] for number in range(len(questions))]


def _read_rows(path: Path, identity: Mapping[str, Any]) -> dict[int, Numbers]:
    """Return the rows of an earlier start; a line that was cut short ends them."""
    rows: dict[int, Numbers] = {}
    try:
        first, *lines = path.read_text(encoding="utf-8").splitlines()
        if json.loads(first) != dict(identity):
            return {}
        for line in lines:
            number, *numbers = json.loads(line)
            rows[number] = numbers
    except (OSError, ValueError, TypeError):  # no such file; a line that is no row
        pass
    return rows
