"""Checkpoints: everything that the rest of a training run depends on, whole or not at all.

A checkpoint is a Hugging Face model directory with the training state beside the weights, and
`manifest.json` with size and checksum of every file. It is written under a temporary name, synced
to disk, and then renamed. There is no generator state in it: what a step draws is a function of the
seed and the step, as is what it reads.
"""

import json
import math
import platform
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import safetensors.torch
import torch
from torch import Tensor, nn

from gpt2.checksums import sha256_of
from gpt2.errors import CheckpointError
from gpt2.files.hugging_face import CONFIG_FILE
from gpt2.files.pretrained import GPT2
from gpt2.files.run_directory import (
    CHECKPOINTS,
    STATE_FILE,
    checkpoint_name,
    list_checkpoints,
    step_of,
)
from gpt2.files.tensors import WEIGHTS_FILE, write_tensors
from gpt2.model.sharding import spread_like, whole
from llm_tokenizer.text_files import sync

MANIFEST_FILE = "manifest.json"
STATE_TENSORS = "training_state.safetensors"
PARTIAL, DAMAGED = ".partial", ".damaged"

Optimizers = Sequence[torch.optim.Optimizer]


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """What a run needs besides weights and optimizer to go on as if it had not stopped."""

    step: int = 0  # steps done
    tokens: int = 0  # read so far: the place in the data
    training_seconds: float = 0.0  # in steps so far
    evaluation_seconds: float = 0.0
    skipped: int = 0  # steps in a row, up to this one, that were not finite
    best_step: int | None = None  # of the lowest held-out loss so far
    best_val_loss: float | None = None
    scaler: dict[str, Any] = field(default_factory=dict)  # of float16
    settings: dict[str, Any] = field(default_factory=dict)  # RunConfig.to_sections
    data_fingerprint: str = ""
    tokenizer_fingerprint: str = ""


@dataclass(frozen=True)
class Snapshot:
    """A copy of a run at one step, on the CPU, which training does not change any more."""

    model: GPT2
    optimizer_tensors: dict[str, Tensor]
    optimizer_kinds: list[str]
    state: TrainingState


def take_snapshot(
    model: GPT2, optimizers: Optimizers, state: TrainingState, *, keep: bool = True
) -> Snapshot | None:
    """Copy a run.

    Args:
        model: Where several processes share its parameters, all of them must call this.
        optimizers: Those of the model.
        state: How far the run is.
        keep: Whether this process wants the copy; None is returned where it does not.
    """
    # The weights first: asked for its state, a model whose parameters are spread over processes
    # goes back from the whole ones of its last pass to the shares that the optimizers know.
    weights, tensors = (
        {name: tensor.to("cpu", copy=True) for name, tensor in _whole(named) if keep}
        for named in (model.state_dict().items(), _named_states(model, optimizers))
    )
    known = sum(len(state) for optimizer in optimizers for state in optimizer.state.values())
    assert not keep or len(tensors) == known, "an optimizer has a state that no parameter names"
    if not keep:
        return None
    with torch.device("meta"):  # shapes alone
        copied = GPT2(model.config)
    copied.tokenizer, copied.special_ids = model.tokenizer, model.special_ids
    copied.load_state_dict(weights, assign=True)
    return Snapshot(copied, tensors, _kinds(optimizers), state)


def begin_checkpoint(run: Path, step: int) -> Path:
    """Make the temporary directory of a checkpoint, and remove those of a start that was cut short.

    From now on a process that is killed leaves a trace of the checkpoint.
    """
    folder = run / CHECKPOINTS
    partial = folder / (checkpoint_name(step) + PARTIAL)
    for stale in folder.glob("*" + PARTIAL):
        if not stale.is_dir() or stale.is_symlink():
            stale.unlink()
        elif stale != partial or any(stale.iterdir()):
            shutil.rmtree(stale)
    partial.mkdir(parents=True, exist_ok=True)
    return partial


def write_checkpoint(run: Path, snapshot: Snapshot) -> Path:
    """Write a snapshot into a run directory.

    Returns:
        Its directory, `checkpoints/step_00000100` for step 100.
    Raises:
        CheckpointError: It cannot be written; what was there before is untouched.
    """
    folder = run / CHECKPOINTS
    final = folder / checkpoint_name(snapshot.state.step)
    partial = final.with_name(final.name + PARTIAL)
    try:
        begin_checkpoint(run, snapshot.state.step)
        _write_files(partial, snapshot)
        partial.replace(final)
        sync(folder)
        sync(run)
    except (OSError, CheckpointError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise CheckpointError(f"could not save {final}: {error}") from None
    return final


def prune_checkpoints(run: Path, keep_last: int, best_step: int | None = None) -> None:
    """Delete all checkpoints of a run but the newest and the best; some may be past deleting."""
    kept = [step_of(path) for path in list_checkpoints(run)[-keep_last:]]
    for old in list_checkpoints(run):
        if step_of(old) not in (*kept, best_step):
            with suppress(OSError):  # renamed first: never half of it in sight
                shutil.rmtree(old.rename(old.with_name(old.name + PARTIAL)))


def _write_files(directory: Path, snapshot: Snapshot) -> None:
    """Write all files of a checkpoint, and wait until they are on the disk."""
    snapshot.model.save_pretrained(directory)
    write_tensors(directory / STATE_TENSORS, snapshot.optimizer_tensors)
    versions = {name: version(name) for name in ("numpy", "gpt2-from-scratch")}
    versions |= {"python": platform.python_version(), "torch": str(torch.__version__)}
    entries = {
        **asdict(snapshot.state),
        "optimizer_kinds": snapshot.optimizer_kinds,
        "versions": versions,
    }
    (directory / STATE_FILE).write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    files = {file.name: _describe(file) for file in sorted(directory.iterdir())}
    (directory / MANIFEST_FILE).write_text(_manifest(files), encoding="utf-8")
    for path in (*directory.iterdir(), directory):
        sync(path)


def read_state(directory: Path) -> TrainingState:
    """Read what a checkpoint, which must be intact, says of the run.

    Raises:
        CheckpointError: It is of another version of this program, or was edited.
    """
    path = directory / STATE_FILE
    entries = _read_entries(path)
    kinds = get_type_hints(TrainingState) | {"optimizer_kinds": list[str]}
    if missing := kinds.keys() - entries.keys():
        versions = entries.get("versions")
        made_by = versions.get("gpt2-from-scratch") if isinstance(versions, dict) else None
        raise CheckpointError(
            f"{path} lacks {', '.join(sorted(missing))}: it was written by another version of "
            f"this program, {made_by}, which can go on with it"
        )
    for name, kind in kinds.items():
        if not _is_of(kind, entries[name]):
            raise CheckpointError(f"{path} was edited: {name} cannot be {entries[name]!r}")
    if entries["step"] != step_of(directory):
        raise CheckpointError(
            f"{path} was edited or moved: it holds step {entries['step']}, and its directory has "
            "the name of another step"
        )
    names = TrainingState.__dataclass_fields__
    return TrainingState(**{name: entries[name] for name in names})


def _read_entries(path: Path) -> dict[str, Any]:
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        entries = None
    if not isinstance(entries, dict):
        raise CheckpointError(f"{path} was edited: it holds no JSON object")
    return entries


def _is_of(kind: Any, value: object) -> bool:
    """Return whether a value from JSON is of a type; numbers are finite and not negative."""
    options = get_args(kind) if isinstance(kind, UnionType) else (kind,)
    types = {get_origin(option) or option for option in options}
    if type(value) is dict and "scale" in value:  # of the loss scaler: numbers alone
        return dict in types and all(_is_of(float, number) for number in value.values())
    if isinstance(value, bool) or not isinstance(value, int | float):
        return type(value) in types
    return bool({type(value), float} & types) and 0 <= value < math.inf  # 1 is a float, too


def restore_optimizers(directory: Path, model: GPT2, optimizers: Optimizers) -> None:
    """Load the optimizers' tensors from a checkpoint, which must be intact.

    Rates and decays stay as the optimizers have them.

    Raises:
        CheckpointError: It was saved with optimizers of another kind.
    """
    entries = _read_entries(directory / STATE_FILE)
    if (saved := entries["optimizer_kinds"]) != (kinds := _kinds(optimizers)):
        raise CheckpointError(
            f"{directory} was saved with the optimizers {saved}, whose state does not fit "
            f"{kinds}; to change them, start a run with --init-from {directory}"
        )
    states: dict[str, dict[str, Tensor]] = {}
    for key, tensor in safetensors.torch.load_file(directory / STATE_TENSORS).items():
        name, _, entry = key.rpartition(".")
        states.setdefault(name, {})[entry] = tensor
    names = {parameter: name for name, parameter in model.named_parameters()}
    for optimizer in optimizers:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        state = {
            number: {
                entry: spread_like(parameter, tensor)
                for entry, tensor in states[names[parameter]].items()
            }
            for number, parameter in enumerate(parameters)
            if names[parameter] in states  # a run whose steps were all skipped has none
        }
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})


def verify_checkpoint(directory: Path) -> None:
    """Compare every file of a checkpoint with its manifest.

    Raises:
        CheckpointError: A file is missing or differs.
    """
    path = directory / MANIFEST_FILE
    try:
        text = path.read_text(encoding="utf-8")
        listed = json.loads(text)
    except (OSError, ValueError):
        text, listed = "", None
    needed = {CONFIG_FILE, WEIGHTS_FILE, STATE_FILE, STATE_TENSORS}
    if not isinstance(listed, dict) or not needed <= listed.keys():
        raise CheckpointError(
            f"{directory} is not a checkpoint: it has no {MANIFEST_FILE} that lists its files"
        )
    if text != _manifest(listed):
        raise CheckpointError(f"{path} is damaged: it is not as it was written")
    for name, described in listed.items():
        if not (file := directory / name).is_file():
            raise CheckpointError(f"{file} is missing, which {MANIFEST_FILE} lists")
        if _describe(file) != described:
            raise CheckpointError(f"{file} is damaged: it is not what {MANIFEST_FILE} lists")


def newest_intact(run: Path) -> tuple[Path | None, list[str]]:
    """Return the newest checkpoint of a run that is as it was written.

    Returns:
        Its directory, None where there is no checkpoint at all; and a line for each newer one,
        telling what is wrong with it.
    Raises:
        CheckpointError: There are checkpoints, and all are damaged.
    """
    faults: list[str] = []
    for directory in reversed(list_checkpoints(run)):
        try:
            verify_checkpoint(directory)
        except CheckpointError as error:
            faults.append(str(error))
        else:
            return directory, faults
    if faults:
        raise CheckpointError(f"no checkpoint of {run} is intact: {'; '.join(faults)}")
    return None, []


def set_aside_after(run: Path, step: int) -> None:
    """Rename the checkpoints of later steps, found damaged, so that they are not in the way."""
    for directory in list_checkpoints(run):
        if directory.name > checkpoint_name(step):
            aside = directory.with_name(directory.name + DAMAGED)
            shutil.rmtree(aside, ignore_errors=True)
            directory.rename(aside)


def _kinds(optimizers: Optimizers) -> list[str]:
    return [type(optimizer).__name__ for optimizer in optimizers]


def _named_states(model: nn.Module, optimizers: Optimizers) -> Iterator[tuple[str, Tensor]]:
    """Yield the optimizers' tensors, named such as "h.0.mlp.c_fc.weight.exp_avg"."""
    for name, parameter in model.named_parameters():
        for optimizer in optimizers:
            for entry, tensor in optimizer.state.get(parameter, {}).items():
                yield f"{name}.{entry}", tensor


def _whole(named: Iterable[tuple[str, Tensor]]) -> Iterator[tuple[str, Tensor]]:
    """Yield tensors, put together where processes share them."""
    for name, tensor in named:
        yield name, whole(tensor)


def _manifest(files: dict[str, Any]) -> str:
    return json.dumps(files, indent=1) + "\n"


def _describe(file: Path) -> dict[str, Any]:
    return {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
