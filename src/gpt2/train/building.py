"""From settings to a run in progress: the model, its optimizers, the data, the evaluations."""

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from gpt2 import checkpoint, devices
from gpt2.checkpoint import TrainingState
from gpt2.config import GPT2Config, RunConfig
from gpt2.data.batches import Batches, TokenStream
from gpt2.data.shard_folder import TokenData
from gpt2.errors import ConfigError, InputError
from gpt2.model_hub import CONFIG_FILE, locate
from gpt2.pretrained import GPT2, read_tokenizer
from gpt2.train.distributed import Processes, parallelize
from gpt2.train.evaluations import Evaluation, held_out_loss, samples
from gpt2.train.loop import Trainer
from gpt2.train.optimizer import make_optimizers
from gpt2.train.tracking import require_tracker
from gpt2.weight_files import read_json
from llm_tokenizer import Tokenizer


def resolve(config: RunConfig, processes: Processes) -> RunConfig:
    """Return the settings without what depends on the working directory or the processor."""
    measured = devices.select_dtype(config.training.dtype, processes.device)
    known = list(devices.DTYPES.values())  # each rank has measured; all take what rank 0 found
    dtype = known[processes.from_first(known.index(measured))]
    return replace(
        config,
        data=replace(config.data, directory=config.data.directory.resolve()),
        training=replace(config.training, dtype=devices.name_dtype(dtype)),
    )


def warn_if_slow(config: RunConfig, processes: Processes) -> None:
    """Print one line where the run's arithmetic is many times slower here than float32."""
    dtype = devices.select_dtype(config.training.dtype, processes.device)
    warning = devices.slow_arithmetic(dtype, processes.device)
    if warning and processes.is_first:
        print(warning, file=sys.stderr)


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
        if (Path(source) / checkpoint.MANIFEST_FILE).exists():
            checkpoint.verify(Path(source))
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
    """Build the trainer at `state`. The caller restores the optimizers.

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
    length, micro_batch = config.model.n_positions, config.training.micro_batch
    most_rows = None if config.data.train_tokens is None else config.data.train_tokens // length
    train_rows = TokenStream(data.train, length, most_rows=most_rows)
    val_rows = TokenStream(data.val, length, "held-out")
    held_out = held_out_loss(val_rows, config.evaluation.val_tokens, micro_batch)
    drawn = samples(config.evaluation.sample_prompts, config.evaluation.sample_tokens)
    if (reference := config.evaluation.reference) is not None:  # now, and not at the end of the run
        shape = require_vocabulary(reference, data.tokenizer, "evaluation.reference")
        if shape.n_positions < length or shape.vocab_size < data.tokenizer.n_vocab:
            raise ConfigError(
                f"evaluation.reference must have at least {length} positions and "
                f"{data.tokenizer.n_vocab} tokens, {reference} has {shape.n_positions} and "
                f"{shape.vocab_size}"
            )
    dtype = devices.select_dtype(config.training.dtype, processes.device)
    peak = processes.sum(devices.peak_flops(processes.device, dtype) or math.nan)
    model = make_model(config, data.tokenizer, source, processes.device)
    parallel = parallelize(model, config.training.parallel, processes, dtype)
    scaler = devices.loss_scaler(processes.device, dtype)
    if state.scaler:
        scaler.load_state_dict(state.scaler)
    return Trainer(
        config,
        parallel,
        make_optimizers(model, config.optimizer, dtype),
        scaler,
        Batches(
            train_rows,
            config.batch_rows,
            config.data.seed,
            rank=processes.rank,
            ranks=processes.count,
            offset=state.tokens // length - state.step * config.batch_rows,
        ),
        held_out,
        [drawn, *evaluations],
        processes,
        peak if math.isfinite(peak) else None,
        replace(
            state,
            settings=config.to_sections(),
            data_fingerprint=data.fingerprint,
            tokenizer_fingerprint=data.tokenizer.fingerprint,
        ),
    )


def make_model(
    config: RunConfig, tokenizer: Tokenizer | None, source: str | None, device: torch.device
) -> GPT2:
    """Return the model of a run on its device, in float32.

    Args:
        config: The settings.
        tokenizer: That of the data.
        source: Model to take the weights from; new ones if None.
        device: Device to place the model on.
    Raises:
        InputError: The source knows another vocabulary than the data.
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
            require_vocabulary(source, tokenizer, "training.init_from")
        weights = GPT2.from_pretrained(source, dtype=torch.float32).state_dict()
        weights["wpe.weight"] = weights["wpe.weight"][: config.model.n_positions].clone()
        model.load_state_dict(weights, assign=True)
        model.build_masks()
    model.to(device).train()
    if training.compile:
        model.compile()
    model.gradient_checkpointing = training.gradient_checkpointing
    return model


def require_vocabulary(name: str, tokenizer: Tokenizer, setting: str) -> GPT2Config:
    """Make sure that a model knows the vocabulary of the data, and return its shape.

    Raises:
        InputError: It has another; the model and the setting that names it are told.
    """
    directory = locate(checkpoint.model_directory(name))
    shape = GPT2Config.from_hugging_face(read_json(directory / CONFIG_FILE))
    known = read_tokenizer(directory, shape)
    if known is not None and known.fingerprint != tokenizer.fingerprint:
        raise InputError(
            f"{setting} must be a model with the vocabulary of the data, {name} has another; "
            f"prepare the text with: gpt2 prepare ... --tokenizer {name}"
        )
    return shape
