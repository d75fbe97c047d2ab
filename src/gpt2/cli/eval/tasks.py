"""`gpt2 eval hellaswag`, `lambada`, `multiple-choice` and `cloze`: questions with right answers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gpt2.cli.eval.flags import EvaluationFlags, Work
from gpt2.errors import ConfigError

if TYPE_CHECKING:
    from gpt2.evaluate.data_files import HubFile
    from gpt2.evaluate.measure import Measure
    from gpt2.evaluate.results import Result
    from gpt2.evaluate.scoring import Scorer

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class TaskFlags(EvaluationFlags):
    """Which model is measured, and on which rows."""

    limit: int | None = None
    """Take the first rows alone, so many."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"limit must be at least 1, got {self.limit}")

    def measured_on(
        self,
        name: str,
        words: tuple[str, ...],
        read: Callable[[Path], Iterator[T]],
        work: Callable[[list[T]], Work],
        *,
        hub: "HubFile | None" = None,
    ) -> None:
        """Read the rows, measure the model on them and print the figures.

        Args:
            name: Of the evaluation.
            words: Files on this machine.
            read: Yields the rows of a file.
            work: Returns the evaluation on some rows.
            hub: What to read if there are no words.
        """
        from gpt2.evaluate.data_files import find_data

        files = find_data(words, hub)
        rows = list(islice((row for file in files for row in read(file.path)), self.limit))
        self.measured(name, files, work(rows))


@dataclass(frozen=True, kw_only=True)
class HellaSwag(TaskFlags):
    """Print how often a model finds the right ending of four the likeliest."""

    data: tuple[str, ...] = ()
    """Files with rows of HellaSwag, JSON lines or parquet; if not given, the validation rows on the
    Hugging Face hub."""

    def run(self) -> None:
        """Load the model, score the endings and print the figures."""
        from gpt2.evaluate.data_files import DataRow, read_rows
        from gpt2.evaluate.hellaswag import ON_HUB, hellaswag

        def work(rows: list[tuple[str, DataRow]]) -> Work:
            return lambda scorer, measure: hellaswag(scorer, rows, measure=measure)

        self.measured_on("hellaswag", self.data, read_rows, work, hub=ON_HUB)


@dataclass(frozen=True, kw_only=True)
class Lambada(TaskFlags):
    """Print how well a model predicts the last word of passages."""

    data: tuple[str, ...] = ()
    """Files with passages of LAMBADA: JSON lines or parquet with a text, or plain text of the
    original release, a passage a line; if not given, the test rows on the Hugging Face hub."""
    stop_words: bool = False
    """Measure as the GPT-2 paper: a stop word, such as "the", is never taken for the predicted
    word, and quotes are straight."""

    def run(self) -> None:
        """Load the model, score the words and print the figures."""
        from gpt2.evaluate.lambada import ON_HUB, lambada, passages

        def work(rows: list[tuple[str, str]]) -> Work:
            def evaluate(scorer: "Scorer", measure: "Measure") -> "Result":
                return lambada(scorer, rows, stop_words=self.stop_words, measure=measure)

            return evaluate

        self.measured_on("lambada", self.data, passages, work, hub=ON_HUB)


@dataclass(frozen=True, kw_only=True)
class MultipleChoice(TaskFlags):
    """Print how often a model finds the right choice the likeliest; see docs/evaluation.md."""

    data: tuple[str, ...]
    """Files with rows {"query": "...", "choices": ["...", ...], "gold": 0}, JSON lines or
    parquet."""

    def run(self) -> None:
        """Load the model, score the choices and print the figures."""
        from gpt2.evaluate.data_files import DataRow, read_rows
        from gpt2.evaluate.multiple_choice import multiple_choice

        def work(rows: list[tuple[str, DataRow]]) -> Work:
            return lambda scorer, measure: multiple_choice(scorer, rows, measure=measure)

        self.measured_on("multiple-choice", self.data, read_rows, work)


@dataclass(frozen=True, kw_only=True)
class Cloze(TaskFlags):
    """Print how well a model predicts the continuations of contexts; see docs/evaluation.md."""

    data: tuple[str, ...]
    """Files with rows {"context": "...", "continuation": "..."}, JSON lines or parquet."""

    def run(self) -> None:
        """Load the model, score the continuations and print the figures."""
        from gpt2.evaluate.cloze import cloze
        from gpt2.evaluate.data_files import DataRow, read_rows

        def work(rows: list[tuple[str, DataRow]]) -> Work:
            return lambda scorer, measure: cloze(scorer, rows, measure=measure)

        self.measured_on("cloze", self.data, read_rows, work)
