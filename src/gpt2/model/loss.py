"""The loss: cross-entropy straight from the hidden states, with no matrix of all logits in memory.

Tokens are processed in portions. A portion's gradients are computed from its logits while they are
in memory, and added up; the backward pass only scales the sums.

Dimension key: N tokens, C channels, V vocabulary.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from gpt2.devices import product_dtype

IGNORED = -100  # as a target: the token is not counted
PORTION_LOGITS = 2**25  # logits of a portion at most: 128 MiB in float32
ALIGNMENT = 64  # matrix products are faster where the vocabulary is a multiple of it


def linear_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, ignore_index: int = IGNORED
) -> Tensor:  # (N, C), (V, C), (N,) -> ()
    """Return the mean negative log-likelihood of the targets, in nats a token.

    Equal to `F.cross_entropy(F.linear(hidden, weight).float(), targets)` up to rounding.

    Args:
        hidden: What the head reads, (N, C).
        weight: The head, (V, C).
        targets: The token that follows each, (N,), 0 to V - 1 or `ignore_index`.
        ignore_index: Target of tokens that are not counted.
    Returns:
        A float32 scalar; nan if no token is counted.
    """
    if torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad):
        apply: Callable[..., Tensor] = _LinearCrossEntropy.apply  # torch leaves it untyped
        return apply(hidden, weight, targets, ignore_index)
    head = _aligned(weight, product_dtype(hidden))
    sums = [
        _summed_loss(_log_probabilities(rows, head, len(weight)), followers, ignore_index)
        for rows, followers in _portions(hidden.to(head.dtype), targets, len(head))
    ]
    return torch.stack(sums).sum() / (targets != ignore_index).sum()


class _LinearCrossEntropy(Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, ignore_index: int
    ) -> Tensor:
        vocabulary = len(weight)
        head = _aligned(weight, product_dtype(hidden))  # (V', C), V' a multiple of ALIGNMENT
        head_gradient = torch.zeros_like(head, dtype=torch.float32)
        losses, gradients = [], []
        for rows, followers in _portions(hidden.to(head.dtype), targets, len(head)):
            log_probabilities = _log_probabilities(rows, head, vocabulary)
            losses.append(_summed_loss(log_probabilities, followers, ignore_index))
            # The gradient of a loss by its logits: their probabilities, less 1 at the target.
            gradient = log_probabilities.exp_()
            counted = (followers != ignore_index).to(head.dtype)[:, None]
            at_target = _as_column(followers, ignore_index)
            gradient.scatter_add_(1, at_target, -torch.ones_like(at_target, dtype=gradient.dtype))
            gradient = gradient.to(head.dtype)
            gradients.append((gradient @ head) * counted)
            head_gradient += gradient.t() @ (rows * counted)
        count = (targets != ignore_index).sum()
        ctx.save_for_backward(torch.cat(gradients), head_gradient[:vocabulary], count)
        ctx.dtypes = hidden.dtype, weight.dtype
        return torch.stack(losses).sum() / count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        hidden_gradient, head_gradient, count = ctx.saved_tensors
        scale = gradient / count.clamp(min=1)  # without a counted token gradients are 0, not nan
        hidden_dtype, weight_dtype = ctx.dtypes
        return (
            (hidden_gradient * scale).to(hidden_dtype),
            (head_gradient * scale).to(weight_dtype),
            None,
            None,
        )


def _aligned(weight: Tensor, dtype: torch.dtype) -> Tensor:  # (V, C) -> (V', C)
    """Return the head in the dtype of the products, with rows of zeros up to the alignment."""
    return F.pad(weight.detach().to(dtype), (0, 0, 0, -len(weight) % ALIGNMENT))


def _portions(hidden: Tensor, targets: Tensor, width: int) -> list[tuple[Tensor, Tensor]]:
    """Split the tokens into portions, at least two, so that no logits are ever all in memory."""
    length = max(1, min(PORTION_LOGITS // width, -(-len(targets) // 2)))
    return list(zip(hidden.split(length), targets.split(length), strict=True))


def _log_probabilities(rows: Tensor, head: Tensor, vocabulary: int) -> Tensor:
    """Return log-probabilities in float32, those of the padding being -inf."""
    logits = F.linear(rows, head)  # (portion, V')
    logits[:, vocabulary:] = float("-inf")
    return logits.log_softmax(dim=-1, dtype=torch.float32)


def _summed_loss(log_probabilities: Tensor, targets: Tensor, ignore_index: int) -> Tensor:
    """Return the sum of the losses of a portion."""
    nats = -log_probabilities.gather(1, _as_column(targets, ignore_index))[:, 0]
    return nats.masked_fill(targets == ignore_index, 0).sum()


def _as_column(targets: Tensor, ignore_index: int) -> Tensor:  # (N,) -> (N, 1)
    """Return the targets as a column to index with; those not counted point at the first id."""
    return targets.masked_fill(targets == ignore_index, 0)[:, None]
