"""From settings to a run that is ready to train: its model, optimizers, data and evaluations."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from gpt2 import devices
from gpt2.config import GPT2Config, RunConfig
from gpt2.data.batches import Batches, TokenStream
from gpt2.data.shard_folder import TokenData
from gpt2.errors import ConfigError, InputError
from gpt2.files.checkpoint import MANIFEST_FILE, TrainingState, verify_checkpoint
from gpt2.files.hugging_face import read_config, read_tokenizer
from gpt2.files.names import is_local, locate
from gpt2.files.pretrained import GPT2
from gpt2.progress import log
from gpt2.train.distributed import Parallel, Processes, parallelize
from gpt2.train.loop import Trainer
from gpt2.train.optimizer import make_optimizers
from gpt2.train.tracking import require_tracker
from gpt2.train.validation import Evaluation, held_out_loss, samples
from llm_tokenizer import Tokenizer


def resolve(config: RunConfig, processes: Processes) -> RunConfig:
    """Return the settings without what depends on the working directory or the processor."""
    measured = devices.select_dtype(config.training.dtype, processes.device)
    known = list(devices.DTYPES.values())  # each rank has measured; all take what rank 0 found
    dtype = known[processes.broadcast(known.index(measured))]
    reference = config.evaluation.reference
    if reference is not None and is_local(reference):
        reference = str(Path(reference).resolve())
    return replace(
        config,
        data=replace(config.data, directory=config.data.directory.resolve()),
        training=replace(config.training, dtype=devices.name_dtype(dtype)),
        evaluation=replace(config.evaluation, reference=reference),
    )


def warn(config: RunConfig, processes: Processes) -> None:
    """Log, once, what in the settings is allowed and hardly meant."""
    dtype = devices.select_dtype(config.training.dtype, processes.device)
    warnings = [devices.slow_arithmetic(dtype, processes.device)]
    warmup, steps = config.optimizer.warmup_steps, config.training.steps
    if warmup >= steps > 1:
        warnings.append(
            f"the learning rate rises over optimizer.warmup_steps, {warmup}, and the run has "
            f"{steps} steps: it never reaches its peak"
        )
    for warning in warnings:
        if warning and processes.is_rank_0:
            log(warning)


def shaped_as_source(config: RunConfig) -> RunConfig:
    """Return the settings with the shape of the model that `training.init_from` names, if any.

    Raises:
        CheckpointError, ConfigError: There is no such model, or it is no GPT-2.
    """
    source = config.training.init_from
    if source is None:
        return config
    directory = locate(source)
    if (directory / MANIFEST_FILE).exists():
        verify_checkpoint(directory)
    shape, own = read_config(directory), config.model
    model = replace(
        shape,
        n_positions=min(shape.n_positions, own.n_positions),
        embd_pdrop=own.embd_pdrop,
        attn_pdrop=own.attn_pdrop,
        resid_pdrop=own.resid_pdrop,
    )
    source = str(directory.resolve()) if is_local(source) else source
    return replace(config, model=model, training=replace(config.training, init_from=source))


def build(
    config: RunConfig,
    data: TokenData,
    state: TrainingState,
    source: str | Path | None,
    processes: Processes,
    evaluations: Sequence[Evaluation],
) -> Trainer:
    """Build the trainer at `state`. The caller restores the optimizers.

    Args:
        config: The settings, resolved.
        data: The tokens.
        state: How far the run is.
        source: Model to take the weights from; new ones if None.
        processes: All that take part.
        evaluations: What to measure beside the held-out loss.
    """
    config.check_batch(processes.world_size)
    require_tracker(config)
    data.check_ids(config.model.vocab_size)
    batches = _batches(config, data, state, processes)
    evaluations = [*_evaluations(config, data), *evaluations]
    parallel = make_parallel(config, data.tokenizer, source, processes)
    if state.scaler:
        parallel.scaler.load_state_dict(state.scaler)
    peak = processes.sum(devices.peak_flops(processes.device, parallel.dtype) or math.nan)
    return Trainer(
        config,
        parallel,
        make_optimizers(parallel.model, config.optimizer, parallel.dtype),
        batches,
        evaluations,
        peak if math.isfinite(peak) else None,
        replace(
            state,
            settings=config.to_sections(),
            data_fingerprint=data.fingerprint,
            tokenizer_fingerprint=data.tokenizer.fingerprint,
        ),
    )


def _batches(
    config: RunConfig, data: TokenData, state: TrainingState, processes: Processes
) -> Batches:
    """Return this rank's rows of each step; a run whose batch was changed reads on where it was."""
    length, tokens = config.model.n_positions, config.data.train_tokens
    most_rows = None if tokens is None else tokens // length
    return Batches(
        TokenStream(data.train, length, most_rows=most_rows),
        config.batch_rows,
        config.data.seed,
        rank=processes.rank,
        ranks=processes.world_size,
        offset=state.tokens // length - state.step * config.batch_rows,
    )


def _evaluations(config: RunConfig, data: TokenData) -> list[Evaluation]:
    """Return the evaluations of every run, the held-out loss first."""
    evaluation, length = config.evaluation, config.model.n_positions
    if evaluation.reference is not None:  # checked now, and not at the end of the run
        _check_reference(evaluation.reference, config.model, data.tokenizer)
    rows = TokenStream(data.val, length, "held-out")
    return [
        held_out_loss(rows, evaluation.val_tokens, config.training.micro_batch),
        samples(evaluation.sample_prompts, evaluation.sample_tokens),
    ]


def make_parallel(
    config: RunConfig,
    tokenizer: Tokenizer | None,
    source: str | Path | None,
    processes: Processes,
) -> Parallel:
    """Return the model of a run, in float32, spread over the processes.

    Args:
        config: The settings.
        tokenizer: That of the data.
        source: Model to take the weights from; new ones if None.
        processes: All that take part.
    Raises:
        InputError: The source has another vocabulary than the data.
    """
    training = config.training
    with torch.device("cpu" if source is None else "meta"):
        model = GPT2(
            config.model,
            tokenizer=tokenizer,
            seed=training.seed,
            attention=training.attention,
            attention_blocks=training.attention_blocks,
        )
    if source is not None:
        if tokenizer is not None:
            _require_vocabulary(source, tokenizer, "training.init_from")
        weights = GPT2.from_pretrained(source, dtype=torch.float32).state_dict()
        weights["wpe.weight"] = weights["wpe.weight"][: config.model.n_positions].clone()
        model.load_state_dict(weights, assign=True)
    model.to(processes.device).train()
    if training.compile:
        model.compile()
    model.gradient_checkpointing = training.gradient_checkpointing
    dtype = devices.select_dtype(training.dtype, processes.device)
    return parallelize(model, training.parallel, processes, dtype)


def _check_reference(name: str, shape: GPT2Config, tokenizer: Tokenizer) -> None:
    """Make sure that a model can read the rows of a run."""
    known = _require_vocabulary(name, tokenizer, "evaluation.reference")
    if known.n_positions < shape.n_positions or known.vocab_size < tokenizer.n_vocab:
        raise ConfigError(
            f"evaluation.reference must have at least {shape.n_positions} positions and "
            f"{tokenizer.n_vocab} tokens, {name} has {known.n_positions} and {known.vocab_size}"
        )


def _require_vocabulary(name: str | Path, tokenizer: Tokenizer, setting: str) -> GPT2Config:
    """Make sure that a model has the vocabulary of the data, and return its shape.

    Raises:
        InputError: It has another; the error names the model, and the setting that names it.
    """
    directory = locate(name)
    shape = read_config(directory)
    known = read_tokenizer(directory, shape)
    if known is not None and known.fingerprint != tokenizer.fingerprint:
        raise InputError(
            f"{setting} must be a model with the vocabulary of the data, {name} has another; "
            f"prepare the text with: gpt2 prepare ... --tokenizer {name}"
        )
    return shape
