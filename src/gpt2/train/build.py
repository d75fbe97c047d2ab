"""From settings to a run that is ready to train: its model, optimizers, data and evaluations."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gpt2 import devices
from gpt2.config import RunConfig
from gpt2.data.batches import Batches, TokenStream
from gpt2.data.shard_folder import TokenData
from gpt2.errors import CheckpointError
from gpt2.files.pretrained import GPT2
from gpt2.files.run_directory import STATE_FILE
from gpt2.files.training_state import TrainingState
from gpt2.train.agreement import facts_of_weights
from gpt2.train.checks import check_data, check_settings
from gpt2.train.distributed import Parallel, Processes, parallelize
from gpt2.train.hellaswag import hellaswag_accuracy, hellaswag_rows
from gpt2.train.loop import Trainer
from gpt2.train.optimizer import make_optimizers
from gpt2.train.validation import Evaluation, held_out_loss, samples
from llm_tokenizer import Tokenizer


def build(
    config: RunConfig,
    data: TokenData,
    state: TrainingState,
    weights_from: str | Path | None,
    processes: Processes,
    evaluations: Sequence[Evaluation],
) -> Trainer:
    """Build the trainer at `state`. The caller restores the optimizers.

    Args:
        config: The settings, resolved.
        data: The tokens.
        state: How far the run is.
        weights_from: Model to take the weights from; new ones if None.
        processes: All that take part.
        evaluations: What to measure beside the held-out loss.
    """
    check_settings(config, processes)
    train, val = check_data(config, data, weights_from, processes)
    batches = _batches(train, config, state, processes)
    evaluations = [*_evaluations(val, config, data.tokenizer), *evaluations]
    parallel = make_parallel(config, data.tokenizer, weights_from, processes)
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
    """Return this rank's rows of each step."""
    return Batches(
        stream,
        config.batch_rows,
        config.data.seed,
        rank=processes.rank,
        ranks=processes.world_size,
        # So that a run whose batch size was changed continues where it was in the data.
        offset=state.tokens // stream.length - state.step * config.batch_rows,
    )


def _evaluations(stream: TokenStream, config: RunConfig, tokenizer: Tokenizer) -> list[Evaluation]:
    """Return the evaluations of a run, the held-out loss first."""
    evaluation, micro_batch = config.evaluation, config.training.micro_batch
    evaluations = [
        held_out_loss(stream, evaluation.val_tokens, micro_batch),
        samples(evaluation.sample_prompts, evaluation.sample_tokens),
    ]
    if evaluation.hellaswag is not None:
        rows = hellaswag_rows(evaluation)
        evaluations.append(hellaswag_accuracy(rows, tokenizer, micro_batch))
    return evaluations


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
    weights_from: str | Path | None,
    processes: Processes,
) -> Parallel:
    """Return the model of a run, in float32, spread over the processes.

    Args:
        config: The settings.
        tokenizer: That of the data.
        weights_from: Model to take the weights from; new ones if None.
        processes: All that take part.
    """
    training = config.training
    with torch.device("cpu" if weights_from is None else "meta"):
        model = GPT2(
            config.model,
            tokenizer=tokenizer,
            seed=training.seed,
            attention=training.attention,
            attention_blocks=training.attention_blocks,
        )
    if weights_from is not None:
        weights = GPT2.from_pretrained(weights_from, dtype=torch.float32).state_dict()
        weights["wpe.weight"] = weights["wpe.weight"][: config.model.n_positions].clone()
        model.load_state_dict(weights, assign=True)
        processes.agree(lambda: facts_of_weights(model))
    model.to(processes.device).train()
    if training.compile:
        model.compile()
    model.gradient_checkpointing = training.gradient_checkpointing
    dtype = devices.select_dtype(training.dtype, processes.device)
    return parallelize(model, training.parallel, processes, dtype)
