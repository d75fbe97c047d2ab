"""`gpt2 eval harness`: tasks of lm-evaluation-harness, by its prompts and metrics."""

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from gpt2.cli.eval.flags import EvaluationFlags, shown
from gpt2.errors import ConfigError

if TYPE_CHECKING:
    from gpt2.evaluate.harness import HarnessModel
    from gpt2.evaluate.measure import Numbers, NumbersOf
    from gpt2.evaluate.packing import Question
    from gpt2.evaluate.scoring import Scorer


@dataclass(frozen=True, kw_only=True)
class Harness(EvaluationFlags):
    """Run tasks of lm-evaluation-harness, by its prompts and metrics."""

    tasks: str
    """Tasks, groups or tags, with commas between; * stands for anything."""
    num_fewshot: int | None = None
    """Examples before each question; if not given, as each task says."""
    limit: int | None = None
    """Rows of each task; all if not given."""
    include_path: Path | None = None
    """A folder with the YAML files of more tasks."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_fewshot is not None and self.num_fewshot < 0:
            raise ConfigError(f"num_fewshot must be at least 0, got {self.num_fewshot}")
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"limit must be at least 1, got {self.limit}")

    def run(self) -> None:
        """Have lm-eval measure the model, and print its figures."""
        if find_spec("lm_eval") is None:
            raise ConfigError(
                "gpt2 eval harness needs lm-eval: pip install 'gpt2-from-scratch[harness]'"
            )
        # Its bootstrap would fork this process, whose threads a copy does not have.
        os.environ.setdefault("DISABLE_MULTIPROC", "1")
        from gpt2.evaluate.harness import run_tasks

        directory, scorer = self.opened()
        started = time.perf_counter()
        with ExitStack() as files:
            result = run_tasks(
                self._model(scorer, directory, files),
                [name.strip() for name in self.tasks.split(",")],
                num_fewshot=self.num_fewshot,
                limit=self.limit,
                include_path=self.include_path,
            )
        self.publish(result, directory, [], started)

    def _model(self, scorer: "Scorer", directory: Path, files: ExitStack) -> "HarnessModel":
        """Return what answers lm-eval; it keeps its scores in files, for --resume."""
        from gpt2.evaluate.data_files import DataFile
        from gpt2.evaluate.harness import HarnessModel, checksum_of
        from gpt2.evaluate.measure import measure

        def keeping(
            scorer: "Scorer",
            questions: "Sequence[Question]",
            numbers_of: "NumbersOf",
            *,
            weights: Sequence[float] | None = None,
        ) -> "list[Numbers]":
            data = [DataFile(Path(), checksum_of(questions), "requests")]
            kept = files.enter_context(self.kept("harness", directory, data))
            with shown("requests") as show:
                return measure(scorer, questions, numbers_of, weights=weights, kept=kept, show=show)

        return HarnessModel(scorer, measure=keeping, display=partial(shown, "texts"))
