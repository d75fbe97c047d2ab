"""A training run and its directory: start a new one, or resume one that was stopped."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from gpt2.config import SETTINGS_FILE, RunConfig
from gpt2.data.shard_folder import TokenData, open_shards
from gpt2.errors import CheckpointError, NotFiniteError
from gpt2.files.checkpoint import restore_optimizers, take_snapshot
from gpt2.files.pretrained import GPT2
from gpt2.files.run_directory import (
    CHECKPOINTS,
    REPORT_FILE,
    list_checkpoints,
    set_aside_after,
)
from gpt2.files.training_state import TrainingState
from gpt2.model.gpt import evaluating
from gpt2.progress import log
from gpt2.train.agreement import facts_of, facts_of_data, facts_of_start, require_shared
from gpt2.train.build import build
from gpt2.train.changes import ALWAYS_ALLOWED, describe_changes
from gpt2.train.checkpoint_writer import CheckpointWriter, checkpoint_writer
from gpt2.train.distributed import Processes, joined
from gpt2.train.evaluations import drop_evaluations_after
from gpt2.train.interruption import (
    DIVERGED,
    TIME_IS_UP,
    DivergedRunError,
    InterruptedRunError,
    noted_interruption,
)
from gpt2.train.loop import MOST_SKIPPED, Trainer
from gpt2.train.meeting import failing_together
from gpt2.train.metrics import MetricsLog, Record, Row, read_metrics
from gpt2.train.moments import keeping_moments, text_ids
from gpt2.train.page import PAGE_FILE, write_page
from gpt2.train.progress import display
from gpt2.train.report import write_report
from gpt2.train.resumption import check_same_data, is_finished, last_saved
from gpt2.train.settings import resolve, warn, with_shape_of_init_from
from gpt2.train.tracking import tracking
from gpt2.train.validation import Evaluation
from gpt2.visual.moments import drop_moments_after
from llm_tokenizer.atomic import write_whole

LOCK_FILE = ".lock"


def start(config: RunConfig, run: str | Path, evaluations: Sequence[Evaluation] = ()) -> None:
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
        DisagreementError: The processes would not run the same.
        LostProcessError: Another process of the run has failed, or is lost.
        NotFiniteError: The last held-out loss is not finite; the run is saved and has its report.
    """
    run = Path(run)
    with joined(config.training, facts_of_start(config, "a new run")) as processes:
        require_new(run, processes)
        require_shared(run, processes.peers)
        config = with_shape_of_init_from(resolve(config, processes))
        warn(config, processes)
        data = open_shards(config.data.directory)
        processes.agree(lambda: facts_of(config) | facts_of_data(config, data))
        weights_from = config.training.init_from
        trainer = build(config, data, TrainingState(), weights_from, processes, evaluations)
        if processes.is_rank_0:
            run.mkdir(parents=True, exist_ok=True)
        with _locked(run, processes):
            require_new(run, processes)  # again, now under the lock
            reason = _train(trainer, run, data)
    _finish(run, trainer, reason)


def resume(
    run: str | Path,
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
        CheckpointError: The directory holds no run, or no intact checkpoint among several, or its
            checkpoints have been removed.
        ConfigError: Settings differ that must not.
        DataError: The token shards are missing, damaged, or not those of the run.
        DisagreementError, InterruptedRunError, DivergedRunError, LostProcessError, NotFiniteError:
            As in `start`.
    """
    run = Path(run)
    with failing_together():
        require_run(run)
        config = config or RunConfig.from_toml(run / SETTINGS_FILE)
    with (
        joined(config.training, facts_of_start(config, "the run in --resume")) as processes,
        _locked(run, processes),
    ):
        require_shared(run, processes.peers)
        config = resolve(config, processes)
        checkpoint, state, changes = last_saved(run, config, allow_changes, processes)
        if processes.broadcast(is_finished(run, config, state)):
            _finish_again(run, config, processes)
            return
        warn(config, processes)
        data = open_shards(config.data.directory)
        processes.agree(lambda: facts_of(config) | facts_of_data(config, data))
        if checkpoint:
            check_same_data(data, state, config, run)
        if state.skipped >= MOST_SKIPPED:  # it was stopped for that; resuming allows as many again
            state = replace(state, skipped=0)
        weights_from = checkpoint or config.training.init_from
        trainer = build(config, data, state, weights_from, processes, evaluations)
        if checkpoint:
            restore_optimizers(checkpoint, trainer.parallel.model, trainer.optimizers)
        reason = _train(trainer, run, data, changes)
    _finish(run, trainer, reason)


def require_run(run: Path) -> None:
    """Make sure that a directory holds a run.

    Raises:
        CheckpointError: It holds none.
    """
    if not (run / SETTINGS_FILE).exists():
        raise CheckpointError(f"{run} holds no run to resume: no {SETTINGS_FILE} there")


def require_new(run: Path, processes: Processes) -> None:
    """Make sure that a directory holds no run.

    Raises:
        CheckpointError: It holds one.
    """
    # Rank 0 alone looks: a network file system would remember on each host that nothing is there.
    if processes.broadcast(processes.is_rank_0 and _holds_run(run)):
        raise CheckpointError(
            f"{run} holds a run already; continue it with --resume {run}, or choose another --out"
        )


def _holds_run(run: Path) -> bool:
    return (run / SETTINGS_FILE).exists() or bool(list_checkpoints(run))


def _train(
    trainer: Trainer,
    run: Path,
    data: TokenData,
    changes: dict[str, tuple[Any, Any]] | None = None,
) -> int:
    """Take the steps that are left, record them in the run directory, and return why it stopped.

    Args:
        trainer: At the step to continue from.
        run: The run directory, locked.
        data: The tokens.
        changes: Settings that differ from those of the checkpoint: before, and now.
    """
    config, step = trainer.config, trainer.state.step
    if trainer.processes.is_rank_0:
        (run / CHECKPOINTS).mkdir(exist_ok=True)
        write_whole(run / SETTINGS_FILE, config.to_toml().encode())
        set_aside_after(run, step)
        drop_moments_after(run, step)
    keep_moment = keeping_moments(trainer, run, text_ids(config, data))
    with (
        noted_interruption(config.training.max_hours) as interruption,
        _recording(trainer, run, changes or {}) as record,
        checkpoint_writer(run, config.checkpoint) as writer,
    ):
        if peers := trainer.processes.peers:
            peers.advice = f"go on with: gpt2 train --resume {run}"
            peers.finish = writer.wait
        return trainer.train(record, keep_moment, _saving(trainer, writer), interruption)


def _saving(trainer: Trainer, writer: CheckpointWriter) -> Callable[[], None]:
    """Return the function that saves a run at the step where it is."""

    def save() -> None:
        writer.wait()  # never two copies at once
        parallel = trainer.parallel
        state = replace(trainer.state, scaler=parallel.scaler.state_dict())
        keep = trainer.processes.is_rank_0
        snapshot = take_snapshot(parallel.model, trainer.optimizers, state, keep=keep)
        if snapshot:
            writer.save(snapshot)

    return save


@contextmanager
def _locked(run: Path, processes: Processes) -> Iterator[None]:
    """Keep other runs out of a directory while the context lasts.

    Raises:
        CheckpointError: One is at work there.
    """
    if not processes.is_rank_0:
        yield
        return
    try:
        with FileLock(run / LOCK_FILE, timeout=0):
            yield
    except Timeout:
        raise CheckpointError(f"another process trains the run in {run}: wait for it") from None


def _finish(run: Path, trainer: Trainer, reason: int) -> None:
    """Write page and report of a run that has taken its last step, or raise why it has not."""
    config, step = trainer.config, trainer.state.step
    go_on = f"go on with: gpt2 train --resume {run}"
    if reason == DIVERGED:
        raise DivergedRunError(
            f"the last {trainer.state.skipped} steps, up to step {step}, had a loss or gradient "
            "norm that is not finite, and changed no weight; the run is saved and stopped. With a "
            f"lower rate {go_on} --learning-rate ... --allow-changes optimizer.learning_rate. If "
            "that is not finite either, the weights are ruined: move the newest checkpoints away "
            "to go back further, or start a new run"
        )
    if reason:
        why = "its hours are over" if reason == TIME_IS_UP else "stopped"
        saved = f"after step {step} of {config.training.steps}, which is saved"
        raise InterruptedRunError(f"{why} {saved}; {go_on}", reason)
    if trainer.processes.is_rank_0:
        references = {}
        if (name := config.evaluation.reference) is not None:
            references[name] = _reference_loss(name, trainer)
        world_size = trainer.processes.world_size
        if config.history.moments:
            write_page(run)
        log(write_report(run, processes=world_size, references=references).line)
        _check_outcome(run)


def _finish_again(run: Path, config: RunConfig, processes: Processes) -> None:
    """Log that a run is finished, and write its report and its page if they are missing."""
    if processes.is_rank_0:
        log(f"{run} is finished: it has taken all its {config.training.steps} steps")
        if not (run / REPORT_FILE).exists():
            write_report(run, processes=processes.world_size)
        if config.history.moments and not (run / PAGE_FILE).exists():
            write_page(run)
        _check_outcome(run)


def _check_outcome(run: Path) -> None:
    """Raise NotFiniteError where the last held-out loss of a finished run is not finite."""
    evaluations = [row for row in read_metrics(run) if "val_loss" in row]
    if evaluations and evaluations[-1]["val_loss"] is None:
        raise NotFiniteError(
            f"the last held-out loss of {run} is not finite: the weights have diverged. The run is "
            "finished and saved, its report has the losses before; start another one with a lower "
            "--learning-rate"
        )


@contextmanager
def _recording(
    trainer: Trainer, run: Path, changes: dict[str, tuple[Any, Any]]
) -> Iterator[Record]:
    """Yield the function that takes each row of metrics: to file, screen and tracker."""
    config, state = trainer.config, trainer.state
    if not trainer.processes.is_rank_0:
        yield lambda row: None
        return
    with (
        MetricsLog(run, last_step=state.step) as metrics,
        display(state.step, config.training.steps, state.training_seconds) as show,
        tracking(config, run, last_step=state.step) as track,
    ):
        if changes:
            log(f"changed since step {state.step}: {describe_changes(changes)}")
        accepted = {
            name: [str(was), str(now)]
            for name, (was, now) in changes.items()
            if name not in ALWAYS_ALLOWED
        }
        if accepted:
            drop_evaluations_after(run, state.step)
            metrics.write({"step": state.step, "changed": accepted})

        def record(row: Row) -> None:
            metrics.write(row)
            show(row)
            track(row)

        yield record


def _reference_loss(name: str, trainer: Trainer) -> float:
    """Return the loss of another model on the held-out tokens of a run, in nats a token."""
    device, held_out_loss = trainer.processes.device, trainer.evaluations[0]
    reference = GPT2.from_pretrained(name, dtype=torch.float32, device=device)
    with torch.no_grad(), evaluating(reference), trainer.parallel.autocast():
        return held_out_loss(reference, Processes(device))["val_loss"]
