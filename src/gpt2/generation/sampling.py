"""Logits to the next token. Dimension key: B rows, V vocabulary."""

import torch
from torch import Tensor


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
    return logits.masked_fill(logits < smallest, float("-inf"))


def next_token(
    logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator
) -> Tensor:  # (B, V) -> (B,)
    """Draw a token for each row.

    Args:
        logits: Unnormalised log-probabilities in nats, (B, V).
        temperature: Divides the logits; 0 takes the largest, the lowest id among equals.
        top_k: Draw from the k likeliest only; from all if None.
        generator: Source of the draws, on the CPU.
    """
    if temperature == 0:
        return logits.argmax(dim=-1)
    # The largest is 0, and in float64, so that no temperature is too small to divide by; on the
    # CPU, since MPS has no float64.
    on_cpu = logits.cpu().double()
    scaled = (on_cpu - on_cpu.max(dim=-1, keepdim=True).values) / temperature
    kept = scaled if top_k is None else keep_top_k(scaled, top_k)
    drawn = torch.multinomial(kept.softmax(dim=-1), 1, generator=generator)
    return drawn[:, 0].to(logits.device)
