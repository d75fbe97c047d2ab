"""Continue prompts: tokens are drawn one at a time, for all samples of a prompt at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal

import numpy as np
import torch

from gpt2.config import GenerationConfig
from gpt2.errors import InputError, NotFiniteError
from gpt2.files.pretrained import GPT2
from gpt2.generation.sampling import next_token
from gpt2.model.gpt import evaluating


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A continuation of a prompt."""

    prompt_ids: list[int]
    ids: list[int]  # the new ones, without an end of text
    text: str  # of the new ids
    finish_reason: Literal["length", "end_of_text"]
    log_probabilities: list[float]  # of the new ids, in nats, before temperature and filters


@torch.inference_mode()
def generate(
    model: GPT2, prompts: Sequence[str | Sequence[int]], config: GenerationConfig
) -> list[Sample]:
    """Continue each prompt `config.num_samples` times.

    Args:
        model: The newest n_positions tokens are its context.
        prompts: Texts, in which <|endoftext|> is that token, or lists of token ids.
        config: How to draw, and how much.
    Returns:
        The samples of the first prompt, then those of the second, and so on; their text is empty
        where the model has no tokenizer.
    Raises:
        InputError: What came is no list of prompts; or a prompt is empty, has an id that the model
            has not, or is a text and the model has no tokenizer.
        NotFiniteError: The logits are not finite.
    """
    prompts_ids = [_prompt_ids(model, prompt) for prompt in _listed(prompts)]
    generator = torch.Generator()
    if config.seed is None:
        generator.seed()
    else:
        generator.manual_seed(config.seed)
    with evaluating(model):
        return [
            sample
            for prompt_ids in prompts_ids
            for sample in _continue(model, prompt_ids, config, generator)
        ]


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


def _prompt_ids(model: GPT2, prompt: Any) -> list[int]:
    is_text = isinstance(prompt, str)
    ids = _as_list(
        model.require_tokenizer().encode(prompt, allowed_special="all") if is_text else prompt
    )
    if ids is None:
        got = type(prompt).__name__
        raise InputError(f"a prompt must be a text or a list of token ids, got {got}")
    if not ids:
        raise InputError("the prompt must have at least one token, got none")
    known = range(model.config.vocab_size)
    for i in ids:
        if not isinstance(i, Integral) or isinstance(i, bool) or i not in known:
            raise InputError(
                f"token ids must be whole numbers from 0 to {known[-1]}, got {i!r:.40}"
            )
    return [int(i) for i in ids]


def _as_list(values: Any) -> list[Any] | None:
    """Return the entries of a list, a tuple, an array or a tensor; None of anything else."""
    if isinstance(values, np.ndarray | torch.Tensor) and values.ndim:
        return list(values.tolist())
    return list(values) if isinstance(values, list | tuple | range) else None


def _continue(
    model: GPT2, prompt_ids: list[int], config: GenerationConfig, generator: torch.Generator
) -> list[Sample]:
    ids = torch.tensor([prompt_ids] * config.num_samples, device=model.device)  # (B, T)
    log_probabilities = torch.empty(config.num_samples, 0, device=model.device)
    unused = torch.tensor(model.unused_ids, dtype=torch.long, device=model.device)
    ends = torch.tensor(sorted(model.end_ids), dtype=torch.long, device=model.device)
    ended = torch.zeros(config.num_samples, dtype=torch.bool, device=model.device)
    for _ in range(config.max_new_tokens):
        context = ids[:, -model.config.n_positions :]
        logits = model(context)[:, -1].float()  # (B, V)
        if not logits.isfinite().all():
            raise NotFiniteError(
                "the model's logits must be finite to draw from, got others: its weights have "
                "diverged; take those of an earlier checkpoint"
            )
        logits[:, unused] = float("-inf")
        drawn = next_token(logits, config.temperature, config.top_k, generator)
        chosen = logits.log_softmax(dim=-1).gather(1, drawn[:, None])
        ids = torch.cat([ids, drawn[:, None]], dim=1)
        log_probabilities = torch.cat([log_probabilities, chosen], dim=1)
        ended |= torch.isin(drawn, ends)
        if ended.all():
            break
    new = ids[:, len(prompt_ids) :].tolist()
    return [
        _sample(model, prompt_ids, row, log_row)
        for row, log_row in zip(new, log_probabilities.tolist(), strict=True)
    ]


def _sample(
    model: GPT2, prompt_ids: list[int], new: list[int], log_probabilities: list[float]
) -> Sample:
    length = next((i for i, token in enumerate(new) if token in model.end_ids), len(new))
    return Sample(
        prompt_ids=prompt_ids,
        ids=new[:length],
        text=model.tokenizer.decode(new[:length]) if model.tokenizer else "",
        finish_reason="end_of_text" if length < len(new) else "length",
        log_probabilities=log_probabilities[:length],
    )
