"""From settings to a run that is ready to train: its model, optimizers, data and evaluations."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gpt2 import devices
from gpt2.config import GPT2Config, RunConfig
from gpt2.data.batches import Batches, TokenStream
from gpt2.data.manifest import MANIFEST_FILE as DATA_MANIFEST
from gpt2.data.shard_folder import TokenData
from gpt2.errors import CheckpointError, ConfigError, InputError
from gpt2.files.checkpoint import MANIFEST_FILE, TrainingState, verify_checkpoint
from gpt2.files.hugging_face import read_config, read_tokenizer
from gpt2.files.names import is_local, locate
from gpt2.files.pretrained import GPT2
from gpt2.files.run_directory import STATE_FILE
from gpt2.progress import log
from gpt2.train.distributed import Parallel, Processes, parallelize
from gpt2.train.loop import Trainer
from gpt2.train.optimizer import make_optimizers
from gpt2.train.tracking import require_tracker
from gpt2.train.validation import Evaluation, held_out_loss, samples
from llm_tokenizer import Tokenizer
from llm_tokenizer.files import VOCAB_FILE

PADDED_TO = 128  # embeddings: a vocabulary is often filled up to a multiple, which is fast


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


def sized_by_data(config: RunConfig) -> RunConfig:
    """Return the settings with one embedding for each token of the data's vocabulary.

    They stay as they are where no vocabulary lies beside the shards, as with other programs' files
    of GPT-2's ids, or where the shape is that of `training.init_from`.
    """
    directory = config.data.directory
    parts = sorted(path.parent for path in directory.glob(f"*/{DATA_MANIFEST}"))
    folders = [folder for folder in (directory, *parts) if (folder / VOCAB_FILE).is_file()]
    if config.training.init_from is not None or not folders:
        return config
    return replace(
        config, model=replace(config.model, vocab_size=Tokenizer.load(folders[0]).n_vocab)
    )


def check_settings(config: RunConfig, processes: Processes) -> None:
    """Make sure that a run can be made of the settings, whatever the data.

    Raises:
        ConfigError: It cannot.
    """
    config.check_batch(processes.world_size)
    require_tracker(config)
    with torch.device("meta"):
        GPT2(config.model).set_attention(
            config.training.attention, config.training.attention_blocks
        )


def check_data(
    config: RunConfig, data: TokenData, source: str | Path | None, processes: Processes
) -> tuple[TokenStream, TokenStream]:
    """Make sure that a run can train on the data.

    Args:
        config: The settings, resolved.
        data: The tokens.
        source: Model that the weights come from; new ones if None.
        processes: All that take part.
    Returns:
        The rows to train on, and those held out.
    Raises:
        DataError: There are too few tokens, or ids beyond the model's embeddings.
        ConfigError, InputError: The source or `evaluation.reference` does not fit the data.
    """
    data.check_ids(config.model.vocab_size)
    length, tokens = config.model.n_positions, config.data.train_tokens
    most_rows = None if tokens is None else tokens // length
    train = TokenStream(data.train, length, most_rows=most_rows)
    val = TokenStream(data.val, length, "held-out")
    if source is not None:
        _require_vocabulary(source, data.tokenizer, "training.init_from")
    if config.evaluation.reference is not None:  # checked now, and not at the end of the run
        _check_reference(config.evaluation.reference, config.model, data.tokenizer)
    embeddings, known = config.model.vocab_size, data.tokenizer.n_vocab
    if embeddings > math.ceil(known / PADDED_TO) * PADDED_TO and processes.is_rank_0:
        log(
            f"the model has {embeddings} embeddings (model.vocab_size), the vocabulary of the data "
            f"{known} tokens: the others are never used"
        )
    return train, val


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
    check_settings(config, processes)
    train, val = check_data(config, data, source, processes)
    batches = _batches(train, config, state, processes)
    evaluations = [*_evaluations(val, config), *evaluations]
    parallel = make_parallel(config, data.tokenizer, source, processes)
    if state.scaler:
        _restore_scaler(parallel.scaler, state.scaler)
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
    stream: TokenStream, config: RunConfig, state: TrainingState, processes: Processes
) -> Batches:
    """Return this rank's rows of each step; a run whose batch was changed reads on where it was."""
    return Batches(
        stream,
        config.batch_rows,
        config.data.seed,
        rank=processes.rank,
        ranks=processes.world_size,
        offset=state.tokens // stream.length - state.step * config.batch_rows,
    )


def _evaluations(stream: TokenStream, config: RunConfig) -> list[Evaluation]:
    """Return the evaluations of every run, the held-out loss first."""
    evaluation = config.evaluation
    return [
        held_out_loss(stream, evaluation.val_tokens, config.training.micro_batch),
        samples(evaluation.sample_prompts, evaluation.sample_tokens),
    ]


def _restore_scaler(scaler: torch.amp.GradScaler, state: dict[str, Any]) -> None:
    if missing := scaler.state_dict().keys() - state.keys():
        raise CheckpointError(
            f"{STATE_FILE} lacks {', '.join(sorted(missing))} of the loss scaler: it was edited, "
            "or written by another version of this program"
        )
    scaler.load_state_dict(state)


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
