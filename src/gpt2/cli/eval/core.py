"""`gpt2 eval core`: DCLM's CORE metric, over a bundle of tasks."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpt2.cli.eval.flags import EvaluationFlags
from gpt2.errors import ConfigError

if TYPE_CHECKING:
    from gpt2.evaluate.measure import Measure
    from gpt2.evaluate.results import Result
    from gpt2.evaluate.scoring import Scorer


@dataclass(frozen=True, kw_only=True)
class Core(EvaluationFlags):
    """Print how far a model is above chance in 22 tasks: CORE, as nanochat computes it."""

    data: Path
    """The folder of nanochat's evaluation bundle, or the one that holds eval_bundle."""
    max_per_task: int | None = None
    """Rows of each task, the first ones after shuffling; all if not given."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_per_task is not None and self.max_per_task < 1:
            raise ConfigError(f"max-per-task must be at least 1, got {self.max_per_task}")

    def run(self) -> None:
        """Read the bundle, load the model, score every row and print the figures."""
        from gpt2.evaluate.core import core
        from gpt2.evaluate.core_bundle import read_bundle

        bundle = read_bundle(self.data, self.max_per_task)

        def work(scorer: "Scorer", measure: "Measure") -> "Result":
            return core(scorer, bundle.tasks, measure=measure)

        self.measured("core", bundle.files, work)
