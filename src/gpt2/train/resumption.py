"""Where a run resumes: its newest intact checkpoint, which must fit its settings and data."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpt2.config import SETTINGS_FILE, RunConfig
from gpt2.data.shard_folder import TokenData
from gpt2.errors import CheckpointError, ConfigError, DataError
from gpt2.files.checkpoint import newest_intact
from gpt2.files.run_directory import CHECKPOINTS, REPORT_FILE, STATE_FILE, checkpoint_name, step_of
from gpt2.files.training_state import TrainingState, read_state
from gpt2.progress import log
from gpt2.train.agreement import facts_of_checkpoint
from gpt2.train.changes import check_changes
from gpt2.train.distributed import Processes
from gpt2.train.metrics import METRICS_FILE, Row, read_metrics
from llm_tokenizer.atomic import PARTIAL


def last_saved(
    run: Path, config: RunConfig, allow_changes: Sequence[str], processes: Processes
) -> tuple[Path | None, TrainingState, dict[str, tuple[Any, Any]]]:
    """Return where a run resumes.

    Returns:
        Its newest intact checkpoint, None if it never saved one; the state there; and the settings
        that differ from those of the checkpoint: before, and now.
    Raises:
        CheckpointError, ConfigError: As in `resume`.
    """
    checkpoint = _newest_intact(run, processes)
    if checkpoint is None:
        _check_none_is_lost(run, processes)
        return None, TrainingState(), {}
    state = read_state(checkpoint)
    return checkpoint, state, _check_changes(run, checkpoint, state, config, allow_changes)


def is_finished(run: Path, config: RunConfig, state: TrainingState) -> bool:
    """Return whether all steps are done, and the report exists or needs metrics.jsonl alone."""
    has_report = (run / REPORT_FILE).exists() or config.evaluation.reference is None
    return state.step == config.training.steps and has_report


def check_same_data(data: TokenData, state: TrainingState, config: RunConfig, run: Path) -> None:
    """Make sure that the data are those of the run so far.

    Raises:
        DataError: They are not.
    """
    if state.data_fingerprint != data.fingerprint:
        raise DataError(
            f"{config.data.directory} holds other tokens than {run} was trained on; "
            "put those back to resume it"
        )
    if state.tokenizer_fingerprint != data.tokenizer.fingerprint:
        raise DataError(
            f"{config.data.directory} holds another vocabulary than {run} was trained with; "
            "put that back to resume it"
        )


def _newest_intact(run: Path, processes: Processes) -> Path | None:
    """Return the checkpoint to resume from, which rank 0 chooses.

    One process on each host reads its files and finds the newest intact one, all at once: another
    host may see other files, or read them damaged.

    Raises:
        DisagreementError: Another host has found another one, or another one of that name.
    """
    directory, faults = newest_intact(run) if processes.is_first_on_host else (None, [])
    if processes.is_rank_0:
        for fault in faults:
            log(f"{fault}; going on from {directory}")
    step = processes.broadcast(step_of(directory) if directory else 0)
    chosen = run / CHECKPOINTS / checkpoint_name(step) if step else None
    processes.agree(
        lambda: facts_of_checkpoint(directory if processes.is_first_on_host else chosen)
    )
    return chosen


def _check_none_is_lost(run: Path, processes: Processes) -> None:
    """Make sure that a run without a checkpoint has never had one, and log that it starts again.

    Raises:
        CheckpointError: Its metrics have steps after one that was saved, or its folder is missing.
    """
    rows = read_metrics(run)
    if not rows:
        return
    folder, last = run / CHECKPOINTS, rows[-1]["step"]
    due = _first_due(rows, RunConfig.from_toml(run / SETTINGS_FILE))
    lost = not folder.is_dir() or (run / REPORT_FILE).exists()
    if due is not None and last > due and not any(folder.glob("*" + PARTIAL)):
        lost = True
    if processes.broadcast(lost):
        raise CheckpointError(
            f"{run / METRICS_FILE} goes up to step {last}, but {folder} holds no checkpoint: put "
            f"the checkpoints back, or, if they are lost or none could be saved, remove "
            f"{METRICS_FILE} to start again from step 1"
        )
    if processes.is_rank_0:
        log(f"{run} had saved no checkpoint before it ended at step {last}: again from step 1")


def _first_due(rows: Sequence[Row], config: RunConfig) -> int | None:
    """Return the first step of the metrics after which a checkpoint was written, None if none."""
    every, keep_best = config.checkpoint.every, config.checkpoint.keep_best
    due = (
        row["step"]
        for row in rows
        if row["step"] % every == 0 or (keep_best and row.get("val_loss") is not None)
    )
    return min(due, default=None)


def _check_changes(
    run: Path,
    checkpoint: Path,
    state: TrainingState,
    config: RunConfig,
    allowed: Sequence[str],
) -> dict[str, tuple[Any, Any]]:
    """Return the settings that differ from the checkpoint's; raise on those that must not."""
    saved = RunConfig.from_sections(state.settings, str(checkpoint / STATE_FILE))
    # What an earlier start has accepted at this step, and was killed before the next checkpoint.
    rows = [row for row in read_metrics(run) if row["step"] == state.step]
    accepted = [name for row in rows for name in row.get("changed", {})]
    changes = check_changes(saved, config, [*allowed, *accepted], checkpoint)
    if config.training.steps < state.step:
        raise ConfigError(
            f"training.steps must be at least the {state.step} that {run} has taken, got "
            f"{config.training.steps}"
        )
    return changes
