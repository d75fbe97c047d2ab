"""Whether a run can start: its settings by themselves, and together with the data."""

import math
from pathlib import Path

import torch

from gpt2.config import GPT2Config, RunConfig
from gpt2.data.batches import TokenStream
from gpt2.data.shard_folder import TokenData
from gpt2.errors import ConfigError, InputError
from gpt2.files.hugging_face import read_config, read_tokenizer
from gpt2.files.names import locate
from gpt2.files.pretrained import GPT2
from gpt2.progress import log
from gpt2.train.distributed import Processes
from gpt2.train.hellaswag import check_lengths, hellaswag_rows
from gpt2.train.tracking import require_tracker
from llm_tokenizer import Tokenizer

PADDED_TO = 128  # embeddings: vocabularies are often padded to a multiple of it for speed


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
    config: RunConfig, data: TokenData, weights_from: str | Path | None, processes: Processes
) -> tuple[TokenStream, TokenStream]:
    """Make sure that a run can train on the data.

    Args:
        config: The settings, resolved.
        data: The tokens.
        weights_from: Model to take the weights from; new ones if None.
        processes: All that take part.
    Returns:
        The rows to train on, and those held out.
    Raises:
        DataError: There are too few tokens, or ids beyond the model's embeddings.
        ConfigError, InputError: That model or `evaluation.reference` does not fit the data.
    """
    data.check_ids(config.model.vocab_size)
    length, tokens = config.model.n_positions, config.data.train_tokens
    most_rows = None if tokens is None else tokens // length
    train = TokenStream(data.train, length, most_rows=most_rows)
    val = TokenStream(data.val, length, "held-out")
    if weights_from is not None:
        _require_vocabulary(weights_from, data.tokenizer, "training.init_from")
    if config.evaluation.reference is not None:  # checked now, and not at the end of the run
        _check_reference(config.evaluation.reference, config.model, data.tokenizer)
    _check_prompts(config, data.tokenizer)
    _check_hellaswag(config, data.tokenizer)
    embeddings, known = config.model.vocab_size, data.tokenizer.n_vocab
    if embeddings > math.ceil(known / PADDED_TO) * PADDED_TO and processes.is_rank_0:
        log(
            f"the model has {embeddings} embeddings (model.vocab_size), the vocabulary of the data "
            f"{known} tokens: the others are never used"
        )
    return train, val


def _check_reference(name: str, shape: GPT2Config, tokenizer: Tokenizer) -> None:
    """Make sure that a model can read the rows of a run."""
    known = _require_vocabulary(name, tokenizer, "evaluation.reference")
    if known.n_positions < shape.n_positions or known.vocab_size < tokenizer.n_vocab:
        raise ConfigError(
            f"evaluation.reference must have at least {shape.n_positions} positions and "
            f"{tokenizer.n_vocab} tokens, {name} has {known.n_positions} and {known.vocab_size}"
        )


def _check_prompts(config: RunConfig, tokenizer: Tokenizer) -> None:
    """Make sure that the model has an embedding for every token of the texts in the settings."""
    texts = [("evaluation.sample_prompts", prompt) for prompt in config.evaluation.sample_prompts]
    if config.history.text is not None:
        texts.append(("history.text", config.history.text))
    for setting, prompt in texts:
        ids = tokenizer.encode(prompt, allowed_special="all")
        if max(ids) >= config.model.vocab_size:
            raise ConfigError(
                f"{setting} must have ids below the {config.model.vocab_size} "
                f"embeddings of the model, {prompt!r} has {max(ids)}"
            )


def _check_hellaswag(config: RunConfig, tokenizer: Tokenizer) -> None:
    """Make sure that the model can read the rows of HellaSwag."""
    if config.evaluation.hellaswag is None:
        return
    if config.model.vocab_size < tokenizer.n_vocab:
        raise ConfigError(
            "evaluation.hellaswag needs an embedding for every token of the vocabulary, "
            f"{tokenizer.n_vocab}, model.vocab_size is {config.model.vocab_size}"
        )
    check_lengths(hellaswag_rows(config.evaluation), tokenizer, config.model.n_positions)


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
