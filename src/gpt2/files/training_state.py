"""What a training run needs to resume, besides weights and optimizer: training_state.json."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpt2.errors import CheckpointError
from gpt2.files.run_directory import STATE_FILE, step_of
from gpt2.from_json import from_json


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """How far a run is: with weights and optimizer all that it needs to resume exactly."""

    step: int = 0  # steps done
    tokens: int = 0  # read so far: the position in the data
    training_seconds: float = 0.0  # in steps so far
    evaluation_seconds: float = 0.0
    skipped: int = 0  # consecutive steps, up to this one, that were not finite
    best_step: int | None = None  # of the lowest held-out loss so far
    best_val_loss: float | None = None
    scaler: dict[str, float] = field(default_factory=dict)  # of the loss, for float16
    settings: dict[str, Any] = field(default_factory=dict)  # RunConfig.to_sections
    data_fingerprint: str = ""
    tokenizer_fingerprint: str = ""


@dataclass(frozen=True, kw_only=True)
class SavedState(TrainingState):
    """What training_state.json holds."""

    optimizer_kinds: list[str]  # names of classes
    versions: dict[str, str]  # of this program and its libraries, by name


def read_state(checkpoint: Path) -> TrainingState:
    """Read how far the run of a checkpoint is; verify its files first.

    Raises:
        CheckpointError: It is of another version of this program, or was edited.
    """
    saved = vars(read_saved_state(checkpoint))
    return TrainingState(**{name: saved[name] for name in TrainingState.__dataclass_fields__})


def read_saved_state(checkpoint: Path) -> SavedState:
    """Read training_state.json; raises as `read_state` does."""
    path = checkpoint / STATE_FILE
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        entries = None
    if not isinstance(entries, dict):
        raise CheckpointError(f"{path} was edited: it holds no JSON object")
    names = SavedState.__dataclass_fields__
    if missing := names.keys() - entries.keys():
        versions = entries.get("versions")
        made_by = versions.get("gpt2-from-scratch") if isinstance(versions, dict) else "unknown"
        raise CheckpointError(
            f"{path} lacks {', '.join(sorted(missing))}: it was written by another version of this "
            f"program, {made_by}; resume it with that one"
        )
    try:
        state = from_json(SavedState, {name: entries[name] for name in names})
    except ValueError as error:
        raise CheckpointError(f"{path} was edited: {error}") from None
    if state.step != step_of(checkpoint):
        raise CheckpointError(
            f"{path} was edited or moved: it holds step {state.step}, and its directory has the "
            "name of another step"
        )
    return state
