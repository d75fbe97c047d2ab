"""Which checkpoints a run directory holds."""

import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from gpt2.errors import CheckpointError
from llm_tokenizer.atomic import PARTIAL

CHECKPOINTS = "checkpoints"  # folder inside a run directory
CHECKPOINT_NAMES = "step_" + 8 * "[0-9]"  # as a glob
CHECKPOINT_MANIFEST, STATE_FILE = "manifest.json", "training_state.json"  # of a checkpoint
REPORT_FILE = "report.md"  # of a run directory; written when the run has ended
MOMENTS, MOMENT_SUFFIX = "moments", ".safetensors"  # folder inside a run directory, its files
DAMAGED = ".damaged"  # after the name of a checkpoint


def checkpoint_name(step: int) -> str:
    """Return the name of the checkpoint of a step.

    >>> checkpoint_name(100)
    'step_00000100'
    """
    return f"step_{step:08d}"


def step_of(checkpoint: Path) -> int:
    """Return the step of a checkpoint, by its name."""
    return int(checkpoint.name.removeprefix("step_"))


def run_of(checkpoint: Path) -> Path | None:
    """Return the run directory that a model directory is a checkpoint of, None if of none."""
    is_checkpoint = checkpoint.match(f"{CHECKPOINTS}/{CHECKPOINT_NAMES}")
    return checkpoint.parent.parent if is_checkpoint else None


def list_checkpoints(run: Path) -> list[Path]:
    """Return the complete checkpoints of a run directory, oldest first."""
    found = (run / CHECKPOINTS).glob(CHECKPOINT_NAMES)
    return sorted(path for path in found if path.is_dir())


def list_moments(run: Path) -> list[Path]:
    """Return the files of the moments that a run has kept, the first step first."""
    return sorted((run / MOMENTS).glob(CHECKPOINT_NAMES + MOMENT_SUFFIX))


def has_all_files(checkpoint: Path) -> bool:
    """Return whether every file that a checkpoint's manifest lists is there with its size."""
    try:
        listed = json.loads((checkpoint / CHECKPOINT_MANIFEST).read_text(encoding="utf-8"))
        return all((checkpoint / name).stat().st_size == listed[name]["bytes"] for name in listed)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def newest_checkpoint(run: Path) -> Path:
    """Return the newest checkpoint of a run directory.

    Raises:
        CheckpointError: It has none.
    """
    if not (found := list_checkpoints(run)):
        raise CheckpointError(f"{run} holds no checkpoint")
    return found[-1]


def best_checkpoint(run: Path) -> Path:
    """Return the checkpoint of a run with the lowest held-out loss.

    Raises:
        CheckpointError: It was not kept, or no evaluation has been made yet.
    """
    newest = newest_checkpoint(run)
    try:
        step = json.loads((newest / STATE_FILE).read_text(encoding="utf-8"))["best_step"]
    except (OSError, ValueError, KeyError, TypeError):
        raise CheckpointError(f"{newest / STATE_FILE} is missing or damaged") from None
    if step is None:
        raise CheckpointError(f"{run} has no best checkpoint yet: no evaluation so far")
    best = run / CHECKPOINTS / checkpoint_name(step)
    if not best.is_dir():
        raise CheckpointError(
            f"{run} had its lowest held-out loss at step {step}, of which it keeps no checkpoint "
            "(checkpoint.keep_best)"
        )
    return best


def prune_checkpoints(run: Path, keep_last: int, best_step: int | None = None) -> None:
    """Delete the checkpoints of a run, except the newest and the best; ignore errors."""
    kept = [step_of(path) for path in list_checkpoints(run)[-keep_last:]]
    for old in list_checkpoints(run):
        if step_of(old) not in (*kept, best_step):
            with suppress(OSError):  # renamed first: never half of it in sight
                shutil.rmtree(old.rename(old.with_name(old.name + PARTIAL)))


def set_aside_after(run: Path, step: int) -> None:
    """Rename the checkpoints of later steps: a run that resumes at `step` writes them again."""
    for directory in list_checkpoints(run):
        if directory.name > checkpoint_name(step):
            aside = directory.with_name(directory.name + DAMAGED)
            shutil.rmtree(aside, ignore_errors=True)
            directory.rename(aside)


def run_names(runs: Sequence[Path]) -> dict[str, Path]:
    """Return the runs by their names, or by their paths where two have one name.

    >>> list(run_names([Path("runs/a"), Path("runs/b")]))
    ['a', 'b']
    >>> list(run_names([Path("x/a"), Path("y/a")]))
    ['x/a', 'y/a']
    """
    short = {run.resolve().name: run for run in runs}
    return short if len(short) == len(runs) else {str(run): run for run in runs}
