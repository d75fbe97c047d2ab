"""Checkpoints: everything that the rest of a training run depends on, whole or not at all.

A checkpoint is a Hugging Face model directory with the training state beside the weights, and
`manifest.json` with size and checksum of every file. It is written under a temporary name, synced
to disk, and then renamed. There is no generator state in it: the draws of a step are a function of
the seed and the step.
"""

import hashlib
import json
import platform
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from gpt2.errors import CheckpointError
from gpt2.model_hub import CONFIG_FILE
from gpt2.pretrained import GPT2
from gpt2.weight_files import WEIGHTS_FILE, write_tensors
from llm_tokenizer.text_files import sync

MANIFEST_FILE = "manifest.json"
STATE_TENSORS, STATE_FILE = "training_state.safetensors", "training_state.json"
CHECKPOINTS = "checkpoints"  # folder inside a run directory
PARTIAL = ".partial"

Optimizers = Sequence[torch.optim.Optimizer]


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """What a run needs besides weights and optimizer to go on as if it had not stopped."""

    step: int  # steps done
    seconds: float  # of training so far
    data_fingerprint: str


def save(
    run: Path, model: GPT2, optimizers: Optimizers, state: TrainingState, keep_last: int
) -> Path:
    """Write the checkpoint of a step into a run directory, and delete the oldest ones.

    Returns:
        Its directory, `checkpoints/step_00000100` for step 100.
    """
    folder = run / CHECKPOINTS
    final = folder / f"step_{state.step:08d}"
    partial = final.with_name(final.name + PARTIAL)
    for stale in folder.glob("*" + PARTIAL):  # of a start that was cut short
        shutil.rmtree(stale)
    model.save_pretrained(partial)
    tensors, settings = _flatten(optimizers)
    write_tensors(partial / STATE_TENSORS, tensors)
    versions = {name: version(name) for name in ("torch", "numpy", "gpt2-from-scratch")}
    versions["python"] = platform.python_version()
    entries = {
        **asdict(state),
        "optimizer_kinds": _kinds(optimizers),
        "optimizers": settings,
        "versions": versions,
    }
    (partial / STATE_FILE).write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    files = {file.name: _describe(file) for file in sorted(partial.iterdir())}
    (partial / MANIFEST_FILE).write_text(json.dumps(files, indent=1) + "\n", encoding="utf-8")
    for path in (*partial.iterdir(), partial):
        sync(path)
    partial.replace(final)
    sync(folder)
    for old in steps(run)[:-keep_last]:
        shutil.rmtree(old.rename(old.with_name(old.name + PARTIAL)))  # never half of it in sight
    return final


def restore(directory: Path, model: GPT2, optimizers: Optimizers) -> TrainingState:
    """Load a checkpoint into a model and optimizers of the same settings.

    Raises:
        CheckpointError: A file is missing or damaged, or was saved with other settings.
    """
    verify(directory)
    loaded = GPT2.from_pretrained(directory)
    entries: dict[str, Any] = json.loads((directory / STATE_FILE).read_text(encoding="utf-8"))
    kinds = _kinds(optimizers)
    if (loaded.config, entries["optimizer_kinds"]) != (model.config, kinds):
        raise CheckpointError(
            f"{directory} was saved with {loaded.config} and {entries['optimizer_kinds']}, "
            f"the run's settings are {model.config} and {kinds}; put those back to resume"
        )
    model.load_state_dict(loaded.state_dict())
    tensors = safetensors.torch.load_file(directory / STATE_TENSORS)
    _unflatten(tensors, entries["optimizers"], optimizers)
    names = TrainingState.__dataclass_fields__
    return TrainingState(**{name: entries[name] for name in names})


def verify(directory: Path) -> None:
    """Compare every file of a checkpoint with its manifest.

    Raises:
        CheckpointError: A file is missing or differs.
    """
    try:
        listed = json.loads((directory / MANIFEST_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        listed = None
    needed = {CONFIG_FILE, WEIGHTS_FILE, STATE_FILE, STATE_TENSORS}
    if not isinstance(listed, dict) or not needed <= listed.keys():
        raise CheckpointError(
            f"{directory} is not a checkpoint: it has no {MANIFEST_FILE} that lists its files"
        )
    for name, described in listed.items():
        if not (file := directory / name).is_file():
            raise CheckpointError(f"{directory} is incomplete: {name} is missing")
        if _describe(file) != described:
            raise CheckpointError(f"{file} is damaged: its checksum is not the one saved")


def steps(run: Path) -> list[Path]:
    """Return the complete checkpoints of a run directory, oldest first."""
    found = (run / CHECKPOINTS).glob("step_" + 8 * "[0-9]")
    return sorted(path for path in found if path.is_dir())


def newest(run: Path) -> Path:
    """Return the newest checkpoint of a run directory.

    Raises:
        CheckpointError: There is none.
    """
    if not (found := steps(run)):
        raise CheckpointError(f"{run} holds no checkpoint")
    return found[-1]


def model_directory(name_or_path: str) -> str:
    """Return what `GPT2.from_pretrained` takes: of a run directory its newest checkpoint."""
    path = Path(name_or_path)
    is_run = (path / CHECKPOINTS).is_dir() and not (path / CONFIG_FILE).exists()
    return str(newest(path)) if is_run else name_or_path


def _kinds(optimizers: Optimizers) -> list[str]:
    return [type(optimizer).__name__ for optimizer in optimizers]


def _flatten(optimizers: Optimizers) -> tuple[dict[str, Tensor], list[Any]]:
    """Return the optimizers' tensors, as "optimizer.parameter.name", and settings for JSON."""
    tensors: dict[str, Tensor] = {}
    for number, optimizer in enumerate(optimizers):
        for parameter, state in optimizer.state_dict()["state"].items():
            tensors |= {f"{number}.{parameter}.{name}": t for name, t in state.items()}
    return tensors, [optimizer.state_dict()["param_groups"] for optimizer in optimizers]


def _unflatten(tensors: dict[str, Tensor], settings: list[Any], optimizers: Optimizers) -> None:
    """Load what `_flatten` returned into the optimizers."""
    states: list[dict[int, dict[str, Tensor]]] = [{} for _ in optimizers]
    for key, tensor in tensors.items():
        number, parameter, name = key.split(".")
        states[int(number)].setdefault(int(parameter), {})[name] = tensor
    for optimizer, state, groups in zip(optimizers, states, settings, strict=True):
        optimizer.load_state_dict({"state": state, "param_groups": groups})


def _describe(file: Path) -> dict[str, Any]:
    with file.open("rb") as opened:
        checksum = hashlib.file_digest(opened, "sha256").hexdigest()
    return {"bytes": file.stat().st_size, "sha256": checksum}
