"""What does config.toml say of a run now, and which of it does the page show?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpt2.config import SETTINGS_FILE, SIZES, GPT2Config, RunConfig
from gpt2.errors import ConfigError
from gpt2.serve.watch.tail import signature_of
from gpt2.train.metrics import Row
from gpt2.train.normality.data_facts import source_of
from gpt2.train.normality.nearest_recipe import Match, match_recipe
from gpt2.train.normality.verdict import known_band


class Settings:
    """The settings of a run, and its nearest recipe; they are read again when their file changes.

    Args:
        run: The run directory.
    """

    def __init__(self, run: Path) -> None:
        self.config: RunConfig | None = None  # None: not there, or not readable
        self.faults: list[str] = []  # what is wrong with the file
        self._path = run / SETTINGS_FILE
        self._signature: Any = "unread"
        self._match: Match | None = None

    def look(self) -> bool:
        """Read the file if it has changed, and return whether it has."""
        try:
            signature: Any = signature_of(self._path)
        except OSError as error:
            signature = str(error)
        if signature == self._signature:
            return False
        self._signature, self.config, self._match, self.faults = signature, None, None, []
        if signature is not None:
            try:
                self.config = RunConfig.from_toml(self._path)
                self._match = match_recipe(self.config, source_of(self.config))
            except (ConfigError, OSError) as error:
                self.faults = [str(error)]
        return True

    def band(self, held_out: Sequence[Row]) -> list[list[float]]:
        """Return the known range of the held-out loss at evaluations: step, low, high."""
        if self._match is None or self.config is None:
            return []
        evaluated = [row["step"] for row in held_out if row["val_loss"] is not None]
        steps = self.config.training.steps
        return [list(each) for each in known_band(self._match, steps, evaluated)]


def settings_of(config: RunConfig | None) -> dict[str, Any]:
    """Return what the page shows of a run's settings, in strict JSON; {} if they are not known."""
    if config is None:
        return {}
    model, training = config.model, config.training
    return {
        "steps": training.steps,
        "batch_tokens": training.batch_tokens,
        "parameters": parameters_of(model),
        **{size: getattr(model, size) for size in SIZES},
        "optimizer": config.optimizer.kind,
        "learning_rate": config.optimizer.learning_rate,
        "dtype": training.dtype,
        "device": training.device,
        "data": str(config.data.directory),
        "init_from": training.init_from,
        "evaluation_every": config.evaluation.every,
        "checkpoint_every": config.checkpoint.every,
        "most_moments": config.history.moments,
        "sample_prompts": list(config.evaluation.sample_prompts),
    }


def parameters_of(model: GPT2Config) -> int:
    """Return how many parameters a model of this shape has; shared ones are counted once.

    >>> parameters_of(GPT2Config())
    124439808
    """
    channels, inner = model.n_embd, model.inner
    embeddings = (model.vocab_size + model.n_positions) * channels
    head = 0 if model.tie_word_embeddings else model.vocab_size * channels
    attention = 4 * channels * channels + 4 * channels
    mlp = 2 * channels * inner + inner + channels
    norms = 2 * channels
    return embeddings + head + model.n_layer * (attention + mlp + 2 * norms) + norms
