"""Logits to the next token. Dimension key: B rows, V vocabulary.

The filters are pure, and apply in the order of transformers: bias, penalties, temperature, top-k,
top-p, min-p. A token that a filter removes has a logit of -inf. A filter that keeps a token keeps
all those of an equal logit, too, so that no order among equals matters.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from gpt2.config import GenerationConfig
from gpt2.errors import InputError

INF = float("inf")
NUCLEUS = 4096  # likeliest tokens that mostly have probability p: sorting so few is cheap


def keep_top_k(logits: Tensor, k: int) -> Tensor:  # (B, V) -> (B, V)
    """Keep the `k` largest logits of each row, and those equal to the smallest of them.

    Args:
        logits: Unnormalised log-probabilities in nats, (B, V).
        k: Entries to keep, at least 1; all are kept where k exceeds V.
    Returns:
        A new (B, V) tensor: kept entries unchanged, the others -inf.
    Source: Fan et al. 2018, arXiv:1805.04833, section 5.1.
    """
    smallest = logits.topk(min(k, logits.size(-1))).values[:, -1:]
    return _keep_from(logits, smallest)


def keep_top_p(logits: Tensor, p: float) -> Tensor:  # (B, V) -> (B, V)
    """Keep the fewest likeliest tokens that together have probability `p`.

    Args:
        logits: Unnormalised log-probabilities in nats, (B, V).
        p: Probability to keep, 0 to 1; each row keeps its likeliest token, all are kept at 1.
    Returns:
        A new (B, V) tensor: kept entries, and those equal to the smallest of them, unchanged, the
        others -inf.
    Source: Holtzman et al. 2020, arXiv:1904.09751, nucleus sampling.
    """
    if p >= 1:  # a sum of rounded probabilities may reach 1 before the last token
        return logits.clone()
    total = logits.logsumexp(dim=-1, keepdim=True)  # (B, 1)
    first = _largest(logits, min(NUCLEUS, logits.size(-1)))
    if ((first - total).exp().sum(dim=-1) < p).any():
        first = _largest(logits, logits.size(-1))
    mass = (first - total).exp().cumsum(dim=-1)
    count = (mass < p).sum(dim=-1, keepdim=True)  # tokens before the one that reaches p, (B, 1)
    smallest = first.gather(-1, count.clamp(max=first.size(-1) - 1))
    return _keep_from(logits, smallest)


def _largest(logits: Tensor, count: int) -> Tensor:  # (B, V) -> (B, count), descending
    if logits.device.type != "cpu":
        return logits.topk(count).values
    # Where NumPy has vector instructions for it, this takes a tenth of torch's time.
    values, others = logits.detach().numpy(), logits.size(-1) - count
    largest = np.partition(values, others)[:, others:] if others else values
    return torch.from_numpy(np.sort(largest)).flip(-1)


def keep_min_p(logits: Tensor, p: float) -> Tensor:  # (B, V) -> (B, V)
    """Keep the tokens at least `p` times as likely as the likeliest of their row.

    Args:
        logits: Unnormalised log-probabilities in nats, (B, V).
        p: Ratio of probabilities, 0 to 1; all are kept at 0.
    Returns:
        A new (B, V) tensor: kept entries unchanged, the others -inf.
    Source: Nguyen et al. 2024, arXiv:2407.01082.
    """
    largest = logits.amax(dim=-1, keepdim=True)
    return _keep_from(logits, largest + math.log(p)) if p > 0 else logits.clone()


def _keep_from(logits: Tensor, smallest: Tensor) -> Tensor:
    return torch.where(logits < smallest, -INF, logits)


def token_bias(biases: Mapping[int, float], banned: Sequence[int], vocab_size: int) -> Tensor:
    """Return what to add to the logits, (V,) float32: the biases by token id, -inf for the banned.

    Raises:
        InputError: The vocabulary does not have an id of `biases`.
    """
    _check_bias(biases, vocab_size)
    bias = torch.zeros(vocab_size)
    bias[list(biases)] = torch.tensor(list(biases.values()), dtype=torch.float32)
    bias[list(banned)] = -INF
    return bias


def _check_bias(biases: Mapping[int, float], vocab_size: int) -> None:
    for token in biases:
        if token not in range(vocab_size):
            raise InputError(
                f"logit_bias must name token ids from 0 to {vocab_size - 1}, got {token}"
            )


def penalize_repetition(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:  # (B, V) -> (B, V)
    """Divide the positive logits of the tokens seen by `penalty`, and multiply their negative ones.

    Args:
        logits: Unnormalised log-probabilities in nats, (B, V).
        seen: Whether prompt or text holds a token, bool (B, V).
        penalty: Above 1 makes a repetition less likely, below 1 likelier; above 0.
    Source: Keskar et al. 2019, arXiv:1909.05858, section 4.1; the sign is that of transformers.
    """
    penalized = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(seen, penalized, logits)


def penalize_presence(logits: Tensor, counts: Tensor, penalty: float) -> Tensor:  # -> (B, V)
    """Subtract `penalty` nats from the logits (B, V) of the tokens whose count (B, V) is above 0.

    Source: the presence_penalty of OpenAI's API; it counts new tokens alone.
    """
    return logits - penalty * (counts > 0)


def penalize_frequency(logits: Tensor, counts: Tensor, penalty: float) -> Tensor:  # -> (B, V)
    """Subtract `penalty` nats from the logits (B, V) once for each of a token's count (B, V).

    Source: the frequency_penalty of OpenAI's API; it counts new tokens alone.
    """
    return logits - penalty * counts


def divide_by_temperature(logits: Tensor, temperature: float) -> Tensor:  # (B, V) -> (B, V)
    """Return (logits - largest of the row) / temperature in float64; not of a temperature of 0.

    Subtracting first makes the largest 0, so that no temperature is too small to divide by.
    """
    on_cpu = logits.cpu().double()  # MPS has no float64
    return (on_cpu - on_cpu.amax(dim=-1, keepdim=True)) / temperature


class Sampler:
    """Draws the tokens of one sequence, one after the other.

    The draws of a sample are a stream of their own: a function of seed, number of the sample and
    draws before, and of nothing else.

    Args:
        config: How to draw.
        prompt_ids: Tokens of the prompt; those of the text so far count for repetition_penalty.
        sample: 0-based number of the sample among those of its prompt.
        vocab_size: Number of logits, V.
        banned: Ids that no token has; they are never drawn.
    Raises:
        InputError: The vocabulary does not have an id of logit_bias.
    """

    def __init__(
        self,
        config: GenerationConfig,
        prompt_ids: Iterable[int],
        *,
        sample: int,
        vocab_size: int,
        banned: Sequence[int] = (),
    ) -> None:
        _check_bias(config.logit_bias, vocab_size)
        self._config = config
        self._prompt_ids = prompt_ids
        self._banned = banned
        self._vocab_size = vocab_size
        # With no seed, fresh entropy of the operating system: samples of a prompt differ, too.
        sequence = np.random.SeedSequence(config.seed, spawn_key=(sample,))
        self._random = np.random.Generator(np.random.PCG64(sequence))

    # Texts that wait for their turn have none of these, which are as large as the vocabulary.

    @cached_property
    def _bias(self) -> Tensor | None:  # (V,)
        bias = self._config.logit_bias
        return token_bias(bias, self._banned, self._vocab_size) if bias or self._banned else None

    @cached_property
    def _seen(self) -> Tensor | None:
        """Which tokens prompt and text have, (1, V)."""
        if self._config.repetition_penalty == 1:
            return None
        seen = torch.zeros(1, self._vocab_size, dtype=torch.bool)
        seen[0, list(self._prompt_ids)] = True
        return seen

    @cached_property
    def _counts(self) -> Tensor | None:
        """How often the text has each token, (1, V)."""
        is_used = self._config.presence_penalty or self._config.frequency_penalty
        return torch.zeros(1, self._vocab_size) if is_used else None

    @property
    def takes_argmax(self) -> bool:
        """Whether the largest of the raw logits, the banned ids left out, is always the answer."""
        config = self._config
        penalizes = config.presence_penalty or config.frequency_penalty
        repeats_freely = config.repetition_penalty == 1 and not penalizes
        return config.temperature == 0 and repeats_freely and not config.logit_bias

    @torch.inference_mode()
    def next(self, logits: Tensor) -> int:
        """Draw the next token and record it.

        Args:
            logits: Those of the model, (V,) float32 on the CPU, finite.
        Returns:
            Its id; at temperature 0 the lowest of those with the largest logit.
        """
        penalized = self._penalized(logits[None])
        is_greedy = self._config.temperature == 0
        token = int(penalized.argmax()) if is_greedy else self._draw(penalized)
        self.record(token)
        return token

    @torch.inference_mode()
    def record(self, token: int) -> None:
        """Count a token that the caller chose, as where `takes_argmax`."""
        if self._seen is not None:
            self._seen[0, token] = True
        if self._counts is not None:
            self._counts[0, token] += 1

    def _penalized(self, logits: Tensor) -> Tensor:  # (1, V) -> (1, V)
        config = self._config
        if self._bias is not None:
            logits = logits + self._bias
        if self._seen is not None:
            logits = penalize_repetition(logits, self._seen, config.repetition_penalty)
        if self._counts is not None:
            logits = penalize_presence(logits, self._counts, config.presence_penalty)
            logits = penalize_frequency(logits, self._counts, config.frequency_penalty)
        return logits

    def _draw(self, logits: Tensor) -> int:  # (1, V)
        ids, scaled = self._kept(logits)
        mass = scaled[0].exp().cumsum(dim=0)  # the largest is 0
        # Below the total, so that there is a token whose mass exceeds it, and none of mass 0 has.
        point = self._random.random() * float(mass[-1])
        place = int(torch.searchsorted(mass, point, right=True))
        return place if ids is None else int(ids[place])

    def _kept(self, logits: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return the ids that the filters keep, None for all, and their logits, (1, kept)."""
        config = self._config
        ids = None
        # Dividing does not change which are the largest: what top-k removes need not be divided.
        if config.top_k is not None:
            ids, logits = _without_removed(ids, keep_top_k(logits, config.top_k))
        logits = divide_by_temperature(logits, config.temperature)
        if config.top_p is not None:
            ids, logits = _without_removed(ids, keep_top_p(logits, config.top_p))
        if config.min_p is not None:
            ids, logits = _without_removed(ids, keep_min_p(logits, config.min_p))
        return ids, logits


def _without_removed(ids: Tensor | None, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ids and the logits, (1, kept), that are above -inf; ids None is 0, 1, 2, ..."""
    kept = torch.from_numpy(
        np.flatnonzero(logits[0].detach().numpy() > -INF)
    )  # 6 times as fast as torch's
    return kept if ids is None else ids[kept], logits[:, kept]
