"""Which settings a run may change when it is resumed."""

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Any

from gpt2.config import SIZES, CheckpointConfig, EvaluationConfig, HistoryConfig, RunConfig
from gpt2.errors import ConfigError

# They change the result of the training by rounding, and by other draws of dropout, alone.
ALWAYS_ALLOWED = frozenset(
    f"{section}.{key}"
    for section, keys in {
        "data": ["directory"],
        "training": [
            *("micro_batch", "max_hours", "device", "compile", "attention", "attention_blocks"),
            *("gradient_checkpointing", "parallel", "track", "timeout_seconds"),
        ],
        "evaluation": [entry.name for entry in dataclasses.fields(EvaluationConfig)],
        "checkpoint": [entry.name for entry in dataclasses.fields(CheckpointConfig)],
        "history": [entry.name for entry in dataclasses.fields(HistoryConfig)],
    }.items()
    for key in keys
)

# Weights and optimizer would not fit.
NEVER_ALLOWED = frozenset(
    [
        *(f"model.{size}" for size in SIZES),
        *("model.n_inner", "model.tie_word_embeddings", "optimizer.kind"),
    ]
)


def check_changes(
    saved: RunConfig, config: RunConfig, allowed: Collection[str], checkpoint: Path
) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ from those of a checkpoint: before, and now.

    Args:
        saved: The settings of the checkpoint.
        config: The settings to continue with.
        allowed: Settings, such as "optimizer.learning_rate", that may differ although they change
            the result of the training.
        checkpoint: Its directory, for the error.
    Raises:
        ConfigError: A setting differs that must not.
    """
    if unknown := [name for name in allowed if name not in saved.names()]:
        raise ConfigError(
            f"--allow-changes must name settings such as optimizer.learning_rate, got "
            f"{', '.join(unknown)}; known: {', '.join(sorted(saved.names() - ALWAYS_ALLOWED))}"
        )
    changes = saved.differences(config)
    if never := [name for name in changes if name in NEVER_ALLOWED]:
        raise ConfigError(
            f"{checkpoint} was saved with other settings: {describe_changes(changes)}. "
            f"{', '.join(never)} cannot change in a run; put them back, or start one with "
            f"--init-from {checkpoint}"
        )
    refused = [name for name in changes if name not in ALWAYS_ALLOWED and name not in allowed]
    if refused:
        raise ConfigError(
            f"the settings differ from those of {checkpoint}: {describe_changes(changes)}. "
            f"{', '.join(refused)} would change the mathematics of the run: put them back, or "
            f"accept that with --allow-changes {','.join(refused)}"
        )
    return changes


def describe_changes(changes: dict[str, tuple[Any, Any]]) -> str:
    """Return changes as text.

    >>> describe_changes({"training.steps": (5, 6), "training.seed": (0, 1)})
    'training.steps was 5, is 6; training.seed was 0, is 1'
    """
    return "; ".join(f"{name} was {was}, is {now}" for name, (was, now) in changes.items())
