"""Prompts in, samples out: the engine, for callers that want all texts, or one as it is written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch

from gpt2.config import GenerationConfig
from gpt2.errors import InputError
from gpt2.files.pretrained import GPT2
from gpt2.generation.continuation import Continuation, FinishReason, checked_ids
from gpt2.generation.engine import MOST_TEXTS, Engine

Prompt = str | Sequence[int]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A continuation of a prompt."""

    prompt_ids: list[int]
    ids: list[int]  # the new ones, without an end of text
    text: str  # of the new ids, up to a stop string
    finish_reason: FinishReason
    log_probabilities: list[float]  # of the new ids, in nats, before penalties and filters
    likeliest: list[list[tuple[int, float]]]  # ids and log-probabilities beside each, if asked for


def generate(model: GPT2, prompts: Sequence[Prompt], config: GenerationConfig) -> list[Sample]:
    """Continue each prompt `config.num_samples` times, all together.

    By the pass compiled for a CPU, each text is the one that its prompt gives alone; its weights
    are copied first, so callers of many small batches make one `Engine`.

    Args:
        model: The newest n_positions tokens are its context.
        prompts: Texts, in which <|endoftext|> is that token, or lists of token ids; an empty one
            stands for <|endoftext|>.
        config: How to draw, and how much.
    Returns:
        The samples of the first prompt, then those of the second, and so on; their text is empty
        where the model has no tokenizer.
    Raises:
        InputError: What came is no list of prompts; or a prompt has an id that the model has not,
            or is a text and the model has no tokenizer.
        NotFiniteError: The logits are not finite.
    """
    prompts_ids = [prompt_ids(model, prompt) for prompt in _listed(prompts)]
    engine = Engine(model, most_texts=min(len(prompts_ids) * config.num_samples, MOST_TEXTS))
    texts = [
        engine.submit(ids, config, sample)
        for ids in prompts_ids
        for sample in range(config.num_samples)
    ]
    while engine.busy:
        engine.step()
    return [as_sample(text) for text in texts]


def stream(model: GPT2, prompt: Prompt, config: GenerationConfig) -> Iterator[str]:
    """Continue a prompt once, and yield the text as it is written, in whole characters.

    Args, Raises: As for `generate`.
    """
    engine = Engine(model, most_texts=1)
    text = engine.submit(prompt_ids(model, prompt), config)
    shown = 0
    while text.finish_reason is None:
        engine.step()
        for piece, _ in text.pieces[shown:]:
            yield piece
        shown = len(text.pieces)


def as_sample(text: Continuation) -> Sample:
    """Return the sample that a finished text is."""
    assert text.finish_reason is not None
    return Sample(
        prompt_ids=text.prompt_ids,
        ids=text.ids,
        text=text.text,
        finish_reason=text.finish_reason,
        log_probabilities=[token.log_probability for token in text.tokens],
        likeliest=[list(token.likeliest) for token in text.tokens],
    )


def prompt_ids(model: GPT2, prompt: Any) -> list[int]:
    """Return the tokens of a prompt; <|endoftext|> for an empty one.

    Raises:
        InputError: It is neither a text nor a list of ids of the model; it is a text, and the model
            has no tokenizer; or it is empty, and the model has no <|endoftext|>.
    """
    is_text = isinstance(prompt, str)
    ids = _as_list(
        model.require_tokenizer().encode(prompt, allowed_special="all") if is_text else prompt
    )
    if ids is None:
        got = type(prompt).__name__
        raise InputError(f"a prompt must be a text or a list of token ids, got {got}")
    if not ids and model.start_id is None:
        raise InputError(
            "an empty prompt stands for <|endoftext|>, which this model has not; give it a token"
        )
    return checked_ids(model, ids or [model.start_id])


def _listed(prompts: Any) -> list[Any]:
    """Return the prompts as a list; a single prompt would be read as one prompt an entry."""
    listed = _as_list(prompts)
    if isinstance(prompts, str):
        got = "one text; put it into a list"
    elif listed is None:
        got = type(prompts).__name__
    elif not listed:
        got = "an empty one"
    elif isinstance(listed[0], Integral):
        got = "one list of ids; put it into a list"
    else:
        return listed
    raise InputError(f"prompts must be a list of prompts, got {got}")


def _as_list(values: Any) -> list[Any] | None:
    """Return the entries of a list, a tuple, an array or a tensor; None of anything else."""
    if isinstance(values, np.ndarray | torch.Tensor) and values.ndim:
        return list(values.tolist())
    return list(values) if isinstance(values, list | tuple | range) else None
