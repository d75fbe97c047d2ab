"""Checkpoints: everything that the rest of a training run depends on, written atomically.

A checkpoint is a Hugging Face model directory with the training state beside the weights, and
`manifest.json` with size and checksum of every file. It is written under a temporary name, synced
to disk, and then renamed. There is no generator state in it: what a step draws is a function of the
seed and the step, as is what it reads.
"""

import json
import platform
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from gpt2.checksums import sha256_of
from gpt2.errors import CheckpointError
from gpt2.files.hugging_face import CONFIG_FILE
from gpt2.files.pretrained import GPT2
from gpt2.files.run_directory import (
    CHECKPOINT_MANIFEST,
    CHECKPOINTS,
    STATE_FILE,
    checkpoint_name,
    list_checkpoints,
)
from gpt2.files.tensors import WEIGHTS_FILE, write_index, write_tensors
from gpt2.files.training_state import SavedState, TrainingState, read_saved_state
from gpt2.model.sharding import full_tensor, shard_like
from llm_tokenizer.atomic import PARTIAL, sync

STATE_TENSORS = "training_state.safetensors"

Optimizers = Sequence[torch.optim.Optimizer]


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
        model: Where its parameters are sharded, every rank must call this.
        optimizers: Those of the model.
        state: How far the run is.
        keep: Whether to return the copy; None if not.
    """
    # The weights first: state_dict() makes a sharded model drop the full parameters of its last
    # forward pass, so that those that the optimizers know are there again.
    weights, tensors = (
        _copied(named, keep)
        for named in (model.state_dict().items(), _named_states(model, optimizers))
    )
    known = sum(len(entries) for optimizer in optimizers for entries in optimizer.state.values())
    assert not keep or len(tensors) == known, "an optimizer has a state that no parameter names"
    if not keep:
        return None
    with torch.device("meta"):  # shapes alone
        copied = GPT2(model.config)
    copied.tokenizer, copied.special_ids = model.tokenizer, model.special_ids
    copied.load_state_dict(weights, assign=True)
    return Snapshot(copied, tensors, _kinds(optimizers), state)


def begin_checkpoint(run: Path, step: int) -> Path:
    """Make the temporary directory of a checkpoint, and remove those of killed processes.

    Made when the step is taken, it tells a later start that a checkpoint was being written.
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
        if not list_checkpoints(run):
            with suppress(OSError):
                partial.mkdir()  # it tells a later start that none was lost
        raise CheckpointError(f"could not save {final}: {error}") from None
    return final


def _write_files(directory: Path, snapshot: Snapshot) -> None:
    """Write all files of a checkpoint, and wait until they are on the disk."""
    snapshot.model.write_files(directory)
    write_tensors(directory / STATE_TENSORS, snapshot.optimizer_tensors)
    write_index(directory / WEIGHTS_FILE)  # of the weights alone: other programs read no state
    versions = {name: package_version(name) for name in ("numpy", "gpt2-from-scratch")}
    versions |= {"python": platform.python_version(), "torch": str(torch.__version__)}
    saved = SavedState(
        **asdict(snapshot.state), optimizer_kinds=snapshot.optimizer_kinds, versions=versions
    )
    (directory / STATE_FILE).write_text(
        json.dumps(asdict(saved), indent=1) + "\n", encoding="utf-8"
    )
    files = {file.name: _describe(file) for file in sorted(directory.iterdir())}
    (directory / CHECKPOINT_MANIFEST).write_text(_manifest(files), encoding="utf-8")
    for path in (*directory.iterdir(), directory):
        sync(path)


def package_version(distribution: str) -> str:
    """Return the version of an installed distribution."""
    try:
        return version(distribution)
    except PackageNotFoundError:  # its sources are on the path
        return "not installed"


def restore_optimizers(directory: Path, model: GPT2, optimizers: Optimizers) -> None:
    """Load the optimizers' tensors from a checkpoint, which must be intact.

    Rates and decays stay as the optimizers have them.

    Raises:
        CheckpointError: It was saved with optimizers of another kind.
    """
    saved = read_saved_state(directory).optimizer_kinds
    if saved != (kinds := _kinds(optimizers)):
        raise CheckpointError(
            f"{directory} was saved with the optimizers {saved}, whose state does not fit "
            f"{kinds}; to change them, start a run with --init-from {directory}"
        )
    states = _read_states(directory / STATE_TENSORS)
    names = {parameter: name for name, parameter in model.named_parameters()}
    if states and (wrong := states.keys() ^ names.values()):
        raise CheckpointError(
            f"{directory / STATE_TENSORS} must hold the optimizers' state of every parameter, and "
            f"of nothing else; not so {min(wrong)}"
        )
    for optimizer in optimizers:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        state = {
            number: {
                entry: shard_like(parameter, tensor)
                for entry, tensor in states[names[parameter]].items()
            }
            for number, parameter in enumerate(parameters)
            if names[parameter] in states  # a run whose steps were all skipped has none
        }
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": state, "param_groups": groups})


def _read_states(path: Path) -> dict[str, dict[str, Tensor]]:
    """Return the optimizers' tensors by the name of the parameter, and by their own."""
    try:
        tensors = safetensors.torch.load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file: {error}") from None
    states: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name, _, entry = key.rpartition(".")
        states.setdefault(name, {})[entry] = tensor
    return states


def verify_checkpoint(directory: Path) -> None:
    """Compare every file of a checkpoint with its manifest.

    Raises:
        CheckpointError: A file is missing or differs.
    """
    path = directory / CHECKPOINT_MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
        listed = json.loads(text)
    except (OSError, ValueError):
        text, listed = "", None
    needed = {CONFIG_FILE, WEIGHTS_FILE, STATE_FILE, STATE_TENSORS}
    if not isinstance(listed, dict) or not needed <= listed.keys():
        raise CheckpointError(
            f"{directory} is not a checkpoint: it has no {CHECKPOINT_MANIFEST} that lists its files"
        )
    if text != _manifest(listed):
        raise CheckpointError(f"{path} is damaged: it is not as it was written")
    for name, described in listed.items():
        if not (file := directory / name).is_file():
            raise CheckpointError(f"{file} is missing, which {CHECKPOINT_MANIFEST} lists")
        if _describe(file) != described:
            raise CheckpointError(f"{file} is damaged: it is not what {CHECKPOINT_MANIFEST} lists")


def newest_intact(run: Path) -> tuple[Path | None, list[str]]:
    """Return the newest checkpoint of a run that is as it was written.

    Returns:
        Its directory, None where there is no checkpoint at all; and for each newer one a line with
        what is wrong with it.
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


def _kinds(optimizers: Optimizers) -> list[str]:
    return [type(optimizer).__name__ for optimizer in optimizers]


def _named_states(model: nn.Module, optimizers: Optimizers) -> Iterator[tuple[str, Tensor]]:
    """Yield the optimizers' tensors, named such as "h.0.mlp.c_fc.weight.exp_avg"."""
    for name, parameter in model.named_parameters():
        for optimizer in optimizers:
            for entry, tensor in optimizer.state.get(parameter, {}).items():
                yield f"{name}.{entry}", tensor


def _copied(named: Iterable[tuple[str, Tensor]], keep: bool) -> dict[str, Tensor]:
    """Return copies on the CPU, none if not `keep`."""
    copies = {}
    for name, tensor in named:
        full = full_tensor(tensor)  # on every rank: a sharded tensor is gathered from all
        if keep:
            copies[name] = full.to("cpu", copy=True)
    return copies


def _manifest(files: dict[str, Any]) -> str:
    return json.dumps(files, indent=1) + "\n"


def _describe(file: Path) -> dict[str, Any]:
    return {"bytes": file.stat().st_size, "sha256": sha256_of(file)}
