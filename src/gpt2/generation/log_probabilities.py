"""What is reported of a token: how likely it was, and which tokens were the likeliest."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gpt2 import devices
from gpt2.generation.runner import Logits

TOGETHER = 32  # rows that are searched at once: their logits fit a processor's cache


@dataclass(frozen=True)
class Token:
    """A token of a text, and its log-probability after the tokens before it."""

    id: int
    log_probability: float  # in nats, before penalties, temperature and filters
    likeliest: tuple[tuple[int, float], ...] = ()  # ids and log-probabilities, if asked for


def report(logits: Logits, row: int, ids: Sequence[int], count: int) -> list[Token]:
    """Return consecutive tokens with their log-probabilities.

    A token's log-probability is the same float as that of the token among the likeliest.

    Args:
        logits: Those of a pass.
        row: Of the logits that the first token was drawn from; the next ones follow.
        ids: The tokens. An id that no token has gets a log-probability of -inf.
        count: Likeliest tokens to report beside each, the likeliest first; 0 for none.
    """
    rows = slice(row, row + len(ids))
    likeliest = _likeliest(logits, rows, count)
    values, normalizers = _logits_of(ids, logits, rows), logits.log_normalizers[rows]
    return [
        Token(i, value - normalizer, tuple((other, most - normalizer) for other, most in top))
        for i, value, normalizer, top in zip(ids, values, normalizers, likeliest, strict=True)
    ]


def _logits_of(ids: Sequence[int], logits: Logits, rows: slice) -> list[float]:
    if ids == logits.likeliest[rows]:  # as of greedy texts: no tensor need be read
        return logits.largest[rows]
    values = logits.values[rows]
    places = devices.move(torch.tensor(ids)[:, None], values.device)
    return values.gather(1, places)[:, 0].tolist()


def _likeliest(logits: Logits, rows: slice, count: int) -> list[list[tuple[int, float]]]:
    if count == 0:
        return [[]] * (rows.stop - rows.start)
    if count == 1:
        pairs = zip(logits.likeliest[rows], logits.largest[rows], strict=True)
        return [[pair] for pair in pairs]
    parts = logits.values[rows].split(TOGETHER)
    return [top for part in parts for top in largest_logits(part, count)]


def largest_logits(logits: Tensor, k: int) -> list[list[tuple[int, float]]]:  # (B, V)
    """Return the ids and the values of the `k` >= 1 largest logits of each row, the largest first.

    Of equal ones the lowest id comes first; ids of -inf are left out.
    """
    found: list[list[tuple[int, float]]] = [[] for _ in logits]
    smallest = logits.topk(min(k, logits.size(-1))).values[:, -1:]
    kept = logits >= smallest.clamp(min=torch.finfo(logits.dtype).min)
    rows, ids = np.divmod(np.flatnonzero(kept.cpu().numpy()), logits.size(-1))
    values = logits[torch.from_numpy(rows), torch.from_numpy(ids)].detach().cpu().numpy()
    order = np.lexsort((-values, rows))  # keeps the order of the ids among equals
    for row, i, value in zip(*(each[order].tolist() for each in (rows, ids, values)), strict=True):
        if len(found[row]) < k:
            found[row].append((i, value))
    return found
