"""Causal attention by blocks of queries: flash attention in plain products, for CPUs with bfloat16.

A block of queries attends to all keys up to its own. Its scores stay in the processor's cache
between the products, and the backward pass computes them anew; so no (T, T) matrix is ever in
memory, and nothing is computed for keys that no query of the block may see.

Dimension key: B rows, H heads, T tokens a row, D channels a head.
Source: Dao et al. 2022, arXiv:2205.14135, algorithms 1 and 4, with blocks of queries alone.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

BLOCK = 128  # queries: fewer make small products, more compute more weights that are masked
TOKENS = 12 * 1024  # of all heads and rows at a time; their scores are 3 MB


def blocked_attention(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Attend causally: softmax(Q K^T * scale) V, each token to itself and those before it.

    Scores and weights are rounded to the dtype of the queries, as in `manual_attention`.

    Args:
        q: Queries, (B, H, T, D).
        k: Keys, (B, H, T, D).
        v: Values, (B, H, T, D).
        scale: Factor of the scores.
    Returns:
        The weighted sums, (B, H, T, D).
    """
    apply: Callable[..., Tensor] = _BlockedAttention.apply  # torch leaves it untyped
    return apply(q, k, v, scale)


class _BlockedAttention(Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(q, k, v)
        ctx.scale = scale
        mixed = torch.empty_like(q)
        for rows in _rows_at_a_time(q):
            for block, seen, weights in _weights_by_block(q[rows], k[rows], scale):
                mixed[rows, :, block] = weights @ _copy(v[rows, :, seen])
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v = ctx.saved_tensors
        scale = ctx.scale
        q_gradient, k_gradient, v_gradient = map(torch.empty_like, (q, k, v))
        for rows in _rows_at_a_time(q):
            # Sums over the blocks, in float32.
            k_sum, v_sum = (torch.zeros_like(k[rows], dtype=torch.float32) for _ in range(2))
            for block, seen, weights in _weights_by_block(q[rows], k[rows], scale):
                mixed_gradient = _copy(gradient[rows, :, block])
                v_sum[:, :, seen] += weights.mT @ mixed_gradient
                weight_gradient = mixed_gradient @ _copy(v[rows, :, seen]).mT
                score_gradient = torch.ops.aten._softmax_backward_data(
                    weight_gradient, weights, -1, weights.dtype
                )
                q_gradient[rows, :, block] = score_gradient @ _copy(k[rows, :, seen]) * scale
                k_sum[:, :, seen] += score_gradient.mT @ _copy(q[rows, :, block])
            k_gradient[rows], v_gradient[rows] = k_sum * scale, v_sum
        return q_gradient, k_gradient, v_gradient, None


def _rows_at_a_time(q: Tensor) -> Iterator[slice]:
    """Yield the rows of (B, H, T, D), as many at a time as have TOKENS in all heads."""
    size = max(1, TOKENS // (q.size(1) * q.size(2)))
    for first in range(0, len(q), size):
        yield slice(first, first + size)


def _weights_by_block(q: Tensor, k: Tensor, scale: float) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yield blocks of queries, the keys that they see, and the weights of these, (B, H, t, s).

    Args:
        q: Queries, (B, H, T, D).
        k: Keys, (B, H, T, D).
        scale: Factor of the scores.
    """
    future = torch.full((BLOCK, BLOCK), -math.inf, dtype=q.dtype, device=q.device).triu(1)
    for start in range(0, q.size(2), BLOCK):
        end = min(start + BLOCK, q.size(2))
        scores = (_copy(q[:, :, start:end]) * scale) @ _copy(k[:, :, :end]).mT
        scores[..., start:] += future[: end - start, : end - start]
        yield slice(start, end), slice(0, end), scores.softmax(-1)


def _copy(part: Tensor) -> Tensor:
    """Return a part of each head's matrix in one piece.

    A batched product would copy it anyway, a transposed one slowly: a sixth of the time.
    """
    return part.contiguous()
