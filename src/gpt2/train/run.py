"""A training run and its directory: how it is started, and how it goes on after it was stopped."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from gpt2 import checkpoint, devices
from gpt2.checkpoint import TrainingState
from gpt2.config import CHANGEABLE, SETTINGS_FILE, GPT2Config, RunConfig
from gpt2.data.batches import Batches, TokenStream
from gpt2.data.token_data import TokenData, open_shards
from gpt2.errors import CheckpointError, ConfigError, DataError, InputError
from gpt2.model.gpt import evaluating
from gpt2.model_hub import CONFIG_FILE, locate
from gpt2.pretrained import GPT2
from gpt2.train.distributed import Processes, joined, parallelize
from gpt2.train.evaluations import Evaluation, held_out_loss, samples
from gpt2.train.interruption import TIME_IS_UP, InterruptedRunError, noted_interruption
from gpt2.train.loop import Trainer
from gpt2.train.metrics import MetricsLog, Row
from gpt2.train.optimizer import make_optimizers
from gpt2.train.progress import display
from gpt2.train.report import write_report
from gpt2.train.saving import saving
from gpt2.train.tracking import require_tracker, tracking
from gpt2.weight_files import read_json
from llm_tokenizer import Tokenizer
from llm_tokenizer.text_files import write_whole


def start(config: RunConfig, run: Path, evaluations: Sequence[Evaluation] = ()) -> None:
    """Train from the first step to the last, in a new run directory.

    Args:
        config: The settings.
        run: The directory, to be made.
        evaluations: What to measure beside the held-out loss, at the same steps.
    Raises:
        CheckpointError: The directory holds a run already.
        DataError: The token shards are missing, damaged or too few.
        ConfigError: A setting does not fit the data or the machine.
        InterruptedRunError: It was asked to stop; a checkpoint has been saved.
        DivergedRunError: Too many steps in a row were not finite; a checkpoint has been saved.
        LostProcessError: Another process of the run has ended.
    """
    with joined(config.training.device) as processes:
        if processes.from_first((run / SETTINGS_FILE).exists()):
            raise CheckpointError(
                f"{run} holds a run already; continue it with --resume {run}, or choose another "
                "--out"
            )
        config = shaped_as_source(resolve(config))
        data = open_shards(config.data.directory)
        begin = TrainingState(step=0, tokens=0, seconds=0.0)
        trainer = build(config, data, begin, config.training.init_from, processes, evaluations)
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
    with joined(config.training.device) as processes:
        config = resolve(config)
        data = open_shards(config.data.directory)
        state = TrainingState(step=0, tokens=0, seconds=0.0)
        directory = _newest_intact(run, processes)
        if directory:
            state = checkpoint.read_state(directory)
            _check_same_data(data, state, config, run)
            _check_changes(directory, state, config, allow_changes, processes)
        source = str(directory) if directory else config.training.init_from
        trainer = build(config, data, state, source, processes, evaluations)
        if directory:
            checkpoint.restore_optimizers(directory, trainer.parallel.model, trainer.optimizers)
        reason = _train(trainer, run)
    _finish(run, trainer, reason)


def resolve(config: RunConfig) -> RunConfig:
    """Return the settings without what depends on the working directory or the processor."""
    device = devices.select_device(config.training.device)
    dtype = devices.name_dtype(devices.select_dtype(config.training.dtype, device))
    return replace(
        config,
        data=replace(config.data, directory=config.data.directory.resolve()),
        training=replace(config.training, dtype=dtype),
    )


def shaped_as_source(config: RunConfig) -> RunConfig:
    """Return the settings with the shape of the model that `training.init_from` names, if any.

    Raises:
        CheckpointError, ConfigError: There is no such model, or it is no GPT-2.
    """
    if config.training.init_from is None:
        return config
    source = checkpoint.model_directory(config.training.init_from)
    shape = GPT2Config.from_hugging_face(read_json(locate(source) / CONFIG_FILE))
    if Path(source).is_dir():
        source = str(Path(source).resolve())
    ours = config.model
    model = replace(
        shape,
        n_positions=min(shape.n_positions, ours.n_positions),
        embd_pdrop=ours.embd_pdrop,
        attn_pdrop=ours.attn_pdrop,
        resid_pdrop=ours.resid_pdrop,
    )
    return replace(config, model=model, training=replace(config.training, init_from=source))


def build(
    config: RunConfig,
    data: TokenData,
    state: TrainingState,
    source: str | None,
    processes: Processes,
    evaluations: Sequence[Evaluation],
) -> Trainer:
    """Return a run that stands where `state` says, but for its optimizers.

    Args:
        config: The settings, resolved.
        data: The tokens.
        state: How far the run is.
        source: Model to take the weights from; new ones if None.
        processes: All that take part.
        evaluations: What to measure beside the held-out loss.
    """
    config.check_batch(processes.count)
    require_tracker(config)
    data.check_ids(config.model.vocab_size)
    devices.make_training_fast()
    length, micro_batch = config.model.n_positions, config.training.micro_batch
    most_rows = None if config.data.train_tokens is None else config.data.train_tokens // length
    train_rows = TokenStream(data.train, length, most_rows=most_rows)
    val_rows = TokenStream(data.val, length, "held-out")
    held_out = held_out_loss(val_rows, config.evaluation.val_tokens, micro_batch)
    drawn = samples(config.evaluation.sample_prompts, config.evaluation.sample_tokens)
    if (reference := config.evaluation.reference) is not None and processes.is_first:
        _reference_model(reference, data.tokenizer)  # whether it fits, now and not at the end
    dtype = devices.select_dtype(config.training.dtype, processes.device)
    peak = devices.peak_flops(processes.device, dtype)
    model = make_model(config, data, source, processes.device)
    parallel = parallelize(model, config.training.parallel, processes, dtype)
    scaler = devices.loss_scaler(processes.device, dtype)
    if state.scaler:
        scaler.load_state_dict(state.scaler)
    return Trainer(
        config,
        parallel,
        make_optimizers(model, config.optimizer),
        scaler,
        Batches(
            train_rows,
            config.batch_rows,
            config.data.seed,
            rank=processes.rank,
            ranks=processes.count,
            offset=state.tokens // length - state.step * config.batch_rows,
        ),
        [held_out, drawn, *evaluations],
        processes,
        processes.sum(peak) if peak else None,
        replace(
            state,
            settings=config.to_sections(),
            data_fingerprint=data.fingerprint,
            tokenizer_fingerprint=data.tokenizer.fingerprint,
        ),
    )


def make_model(
    config: RunConfig, data: TokenData, source: str | None, device: torch.device
) -> GPT2:
    """Return the model of a run on its device, in float32.

    Args:
        config: The settings.
        data: Its tokenizer is the model's.
        source: Model to take the weights from; new ones if None.
        device: Where it shall be.
    Raises:
        InputError: The source knows another vocabulary than the data.
    """
    training = config.training
    with torch.device("cpu" if source is None else "meta"):
        model = GPT2(
            config.model,
            tokenizer=data.tokenizer,
            seed=training.seed,
            attention=training.attention,
            attention_blocks=training.attention_blocks,
        )
    if source is not None:
        loaded = GPT2.from_pretrained(source, dtype=torch.float32)
        known = loaded.tokenizer
        if known is not None and known.fingerprint != data.tokenizer.fingerprint:
            raise InputError(
                f"{config.data.directory} was prepared with another vocabulary than {source} has; "
                f"prepare the text with: gpt2 prepare ... --tokenizer {source}"
            )
        weights = loaded.state_dict()
        weights["wpe.weight"] = weights["wpe.weight"][: config.model.n_positions].clone()
        model.load_state_dict(weights, assign=True)
        model.build_masks()
    model.to(device).train()
    if training.compile:
        model.compile()
    model.gradient_checkpointing = training.gradient_checkpointing
    return model


def _train(trainer: Trainer, run: Path) -> int:
    """Take the steps that are left, and write down what comes of them."""
    config, processes = trainer.config, trainer.processes
    if processes.is_first:
        run.mkdir(parents=True, exist_ok=True)
        write_whole(run / SETTINGS_FILE, config.to_toml().encode())
        checkpoint.set_aside_after(run, trainer.state.step)
    with (
        noted_interruption(config.training.max_hours) as interruption,
        _recording(trainer, run) as record,
        saving(run, config.checkpoint.keep_last) as saver,
    ):

        def save() -> None:
            state = replace(trainer.state, scaler=trainer.scaler.state_dict())
            if snapshot := checkpoint.take_snapshot(
                trainer.parallel.model, trainer.optimizers, state, keep=processes.is_first
            ):
                saver.save(snapshot)

        return trainer.train(record, save, interruption)


def _finish(run: Path, trainer: Trainer, reason: int) -> None:
    """Write the report of a run that has taken its last step, or tell that it has not."""
    processes, config = trainer.processes, trainer.config
    if not processes.is_first:  # the first one tells
        raise SystemExit(InterruptedRunError("", reason).exit_code if reason else 0)
    if reason:
        told = "its hours are over" if reason == TIME_IS_UP else "stopped"
        raise InterruptedRunError(
            f"{told} after step {trainer.state.step} of {config.training.steps}, which is saved; "
            f"go on with: gpt2 train --resume {run}",
            reason,
        )
    references = {}
    if (name := config.evaluation.reference) is not None:
        references[name] = _reference_loss(name, trainer)
    write_report(run, processes=processes.count, references=references)


@contextmanager
def _recording(trainer: Trainer, run: Path) -> Iterator[Callable[[Row], None]]:
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


def _check_changes(
    directory: Path,
    state: TrainingState,
    config: RunConfig,
    allowed: Sequence[str],
    processes: Processes,
) -> None:
    """Tell which settings differ from a checkpoint's, and refuse those that must not."""
    saved = RunConfig.from_sections(state.settings, str(directory / checkpoint.STATE_FILE))
    differences = saved.differences(config)
    changes = [f"{name} was {was}, is {now}" for name, (was, now) in differences.items()]
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
    reference = _reference_model(name, trainer.parallel.model.tokenizer).to(device)
    with torch.no_grad(), evaluating(reference), trainer.parallel.arithmetic():
        return trainer.evaluations[0](reference, Processes(device))["val_loss"]


def _reference_model(name: str, tokenizer: Tokenizer | None) -> GPT2:
    model = GPT2.from_pretrained(checkpoint.model_directory(name), dtype=torch.float32)
    ours, theirs = tokenizer, model.tokenizer
    if ours and theirs and ours.fingerprint != theirs.fingerprint:
        raise InputError(
            f"evaluation.reference must know the vocabulary of the data, {name} has another; "
            "give a model that was trained on the same tokens"
        )
    return model
