"""A training run and its directory: how it is started, and how it goes on after it was stopped."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from gpt2 import checkpoint
from gpt2.checkpoint import TrainingState
from gpt2.config import CHANGEABLE, SETTINGS_FILE, SHAPES, RunConfig
from gpt2.data.shard_folder import TokenData, open_shards
from gpt2.errors import CheckpointError, ConfigError, DataError
from gpt2.model.gpt import evaluating
from gpt2.pretrained import GPT2
from gpt2.train.building import build, resolve, shaped_as_source, warn_if_slow
from gpt2.train.distributed import Processes, joined
from gpt2.train.evaluations import Evaluation
from gpt2.train.interruption import (
    DIVERGED,
    TIME_IS_UP,
    DivergedRunError,
    InterruptedRunError,
    noted_interruption,
)
from gpt2.train.loop import MOST_SKIPPED, Trainer
from gpt2.train.metrics import MetricsLog, Record, Row
from gpt2.train.progress import display
from gpt2.train.report import write_report
from gpt2.train.saving import saving
from gpt2.train.tracking import tracking
from llm_tokenizer.text_files import write_whole

LOCK_FILE = ".lock"
ACCEPTED_FILE = ".accepted.json"  # the settings that the last start went on with, and from where


def start(config: RunConfig, run: Path, evaluations: Sequence[Evaluation] = ()) -> None:
    """Train from the first step to the last, in a new run directory.

    Args:
        config: The settings.
        run: The directory, to be made.
        evaluations: What to measure beside the held-out loss, at the same steps.
    Raises:
        CheckpointError: The directory holds a run already, or cannot be written.
        DataError: The token shards are missing, damaged or too few.
        ConfigError: A setting does not fit the data or the machine.
        InterruptedRunError: It was asked to stop; a checkpoint has been saved.
        DivergedRunError: Too many steps in a row were not finite; a checkpoint has been saved.
        LostProcessError: Another process of the run has ended.
    """
    with joined(config.training.device) as processes:
        _require_new(run, processes)
        config = shaped_as_source(resolve(config, processes))
        warn_if_slow(config, processes)
        data = open_shards(config.data.directory)
        source = config.training.init_from
        trainer = build(config, data, TrainingState(), source, processes, evaluations)
        if processes.is_first:
            run.mkdir(parents=True, exist_ok=True)
        with _locked(run, processes):
            _require_new(run, processes)  # still, now that no other start can come between
            reason = _train(trainer, run)
    _finish(run, trainer, reason)


def resume(
    run: Path,
    config: RunConfig | None = None,
    *,
    allow_changes: Sequence[str] = (),
    evaluations: Sequence[Evaluation] = (),
) -> None:
    """Continue a run after its newest intact checkpoint, or from the start if it has none.

    Args:
        run: The run directory.
        config: Its settings, some of them changed; those in the directory if not given.
        allow_changes: Settings, such as "optimizer.learning_rate", that may differ from those of
            the checkpoint although they change the mathematics.
        evaluations: As in `start`.
    Raises:
        CheckpointError: The directory holds no run, or no intact checkpoint among several.
        ConfigError: Settings differ that must not.
        DataError: The token shards are missing, damaged, or not those of the run.
        InterruptedRunError, DivergedRunError, LostProcessError: As in `start`.
    """
    if not (run / SETTINGS_FILE).exists():
        raise CheckpointError(f"{run} holds no run to resume: no {SETTINGS_FILE} there")
    config = config or RunConfig.from_toml(run / SETTINGS_FILE)
    with joined(config.training.device) as processes, _locked(run, processes):
        config = resolve(config, processes)
        warn_if_slow(config, processes)
        data = open_shards(config.data.directory)
        state = TrainingState()
        directory = _newest_intact(run, processes)
        if directory:
            state = checkpoint.read_state(directory)
            if state.skipped >= MOST_SKIPPED:  # it was stopped for that; now it has new chances
                state = replace(state, skipped=0)
            _check_same_data(data, state, config, run)
            saved = _accepted_settings(run, state) or state.settings
            _check_changes(directory, saved, config, allow_changes, processes)
            if config.training.steps < state.step:
                raise ConfigError(
                    f"training.steps must be at least the {state.step} that {run} has taken, got "
                    f"{config.training.steps}"
                )
        source = str(directory) if directory else config.training.init_from
        trainer = build(config, data, state, source, processes, evaluations)
        if directory:
            checkpoint.restore_optimizers(directory, trainer.parallel.model, trainer.optimizers)
        reason = _train(trainer, run)
    _finish(run, trainer, reason)


def _require_new(run: Path, processes: Processes) -> None:
    if processes.from_first((run / SETTINGS_FILE).exists() or bool(checkpoint.steps(run))):
        raise CheckpointError(
            f"{run} holds a run already; continue it with --resume {run}, or choose another --out"
        )


def _train(trainer: Trainer, run: Path) -> int:
    """Take the steps that are left, write down what comes of them, and return why it stopped."""
    config, first = trainer.config, trainer.processes.is_first
    if first:
        (run / checkpoint.CHECKPOINTS).mkdir(exist_ok=True)
        accepted = {"step": trainer.state.step, "settings": config.to_sections()}
        write_whole(run / ACCEPTED_FILE, json.dumps(accepted).encode())
        write_whole(run / SETTINGS_FILE, config.to_toml().encode())
        checkpoint.set_aside_after(run, trainer.state.step)
    with (
        noted_interruption(config.training.max_hours) as interruption,
        _recording(trainer, run) as record,
        saving(run, config.checkpoint) as saver,
    ):

        def save() -> None:
            saver.wait()  # never two copies at once
            state = replace(trainer.state, scaler=trainer.scaler.state_dict())
            model, optimizers = trainer.parallel.model, trainer.optimizers
            snapshot = checkpoint.take_snapshot(model, optimizers, state, keep=first)
            if snapshot:
                saver.save(snapshot)

        return trainer.train(record, save, interruption)


@contextmanager
def _locked(run: Path, processes: Processes) -> Iterator[None]:
    """Keep other runs out of a directory while the context lasts.

    Raises:
        CheckpointError: One is at work there.
    """
    if not processes.is_first:
        yield
        return
    try:
        with FileLock(run / LOCK_FILE, timeout=0):
            yield
    except Timeout:
        raise CheckpointError(f"another process trains the run in {run}: wait for it") from None


def _finish(run: Path, trainer: Trainer, reason: int) -> None:
    """Write the report of a run that has taken its last step, or raise why it has not."""
    config, step = trainer.config, trainer.state.step
    go_on = f"go on with: gpt2 train --resume {run}"
    if reason == DIVERGED:
        raise DivergedRunError(
            f"the last {trainer.state.skipped} steps, up to step {step}, had a loss or gradient "
            "norm that is not finite, and changed no weight; the run is saved and stopped. With a "
            f"lower rate {go_on} --learning-rate ... --allow-changes optimizer.learning_rate; to "
            "go back further, move the newest checkpoints away first"
        )
    if reason:
        told = "its hours are over" if reason == TIME_IS_UP else "stopped"
        saved = f"after step {step} of {config.training.steps}, which is saved"
        raise InterruptedRunError(f"{told} {saved}; {go_on}", reason)
    if trainer.processes.is_first:
        references = {}
        if (name := config.evaluation.reference) is not None:
            references[name] = _reference_loss(name, trainer)
        write_report(run, processes=trainer.processes.count, references=references)


@contextmanager
def _recording(trainer: Trainer, run: Path) -> Iterator[Record]:
    """Give what takes each row of metrics: to the file, the screen and the tracker."""
    config, step = trainer.config, trainer.state.step
    if not trainer.processes.is_first:
        yield lambda row: None
        return
    with (
        MetricsLog(run, last_step=step) as log,
        display(step, config.training.steps) as show,
        tracking(config, run, last_step=step) as track,
    ):

        def record(row: Row) -> None:
            log.write(row)
            show(row)
            track(row)

        yield record


def _newest_intact(run: Path, processes: Processes) -> Path | None:
    """Return the checkpoint to go on from, chosen by the first process; tell of damaged ones."""
    directory, faults = checkpoint.newest_intact(run) if processes.is_first else (None, [])
    for fault in faults:
        print(f"{fault}; going on from {directory}", file=sys.stderr)
    step = processes.from_first(checkpoint.step_of(directory) if directory else 0)
    return run / checkpoint.CHECKPOINTS / checkpoint.step_name(step) if step else None


def _check_same_data(data: TokenData, state: TrainingState, config: RunConfig, run: Path) -> None:
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


def _accepted_settings(run: Path, state: TrainingState) -> dict[str, Any] | None:
    """Return the settings that an earlier start went on with from this step, if any.

    It was ended before its first checkpoint; what it accepted need not be named again.
    """
    try:
        accepted = json.loads((run / ACCEPTED_FILE).read_text(encoding="utf-8"))
        return accepted["settings"] if accepted["step"] == state.step else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _check_changes(
    directory: Path,
    settings: dict[str, Any],
    config: RunConfig,
    allowed: Sequence[str],
    processes: Processes,
) -> None:
    """Print the settings that differ from the checkpoint's; raise on those that must not change."""
    saved = RunConfig.from_sections(settings, str(directory / checkpoint.STATE_FILE))
    if unknown := [name for name in allowed if name not in saved.names()]:
        raise ConfigError(
            f"--allow-changes must name settings such as optimizer.learning_rate, got "
            f"{', '.join(unknown)}; known: {', '.join(sorted(saved.names() - CHANGEABLE))}"
        )
    differences = saved.differences(config)
    changes = [f"{name} was {was}, is {now}" for name, (was, now) in differences.items()]
    if shapes := [name for name in differences if name in SHAPES]:
        raise ConfigError(
            f"{directory} was saved with other settings: {'; '.join(changes)}. {', '.join(shapes)} "
            f"cannot change in a run; put them back, or start one with --init-from {directory}"
        )
    refused = [name for name in differences if name not in CHANGEABLE and name not in allowed]
    if refused:
        raise ConfigError(
            f"the settings differ from those of {directory}: {'; '.join(changes)}. "
            f"{', '.join(refused)} would change the mathematics of the run: put them back, or "
            f"accept that with --allow-changes {','.join(refused)}"
        )
    if changes and processes.is_first:
        print(f"changed since {directory.name}: {'; '.join(changes)}", file=sys.stderr)


def _reference_loss(name: str, trainer: Trainer) -> float:
    """Return the loss of another model on the held-out tokens of a run, in nats a token."""
    device = trainer.processes.device
    directory = checkpoint.model_directory(name)
    reference = GPT2.from_pretrained(directory, dtype=torch.float32, device=device)
    with torch.no_grad(), evaluating(reference), trainer.parallel.arithmetic():
        return trainer.held_out(reference, Processes(device))["val_loss"]
