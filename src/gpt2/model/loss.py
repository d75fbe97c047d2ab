"""The loss: cross-entropy straight from the hidden states, with no matrix of all logits in memory.

Tokens are processed in chunks. A chunk's logits become their own gradients while they are in
memory, these become those of head and hidden states; the backward pass only scales them.

Dimension key: N tokens, C channels, V vocabulary.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from gpt2.devices import product_dtype

IGNORED = -100  # as a target: the token is not counted
CHUNK_BYTES = 2**27  # of a chunk's logits at most; few chunks, as each adds to the head's gradient
PART_LOGITS = 2**22  # at a time on a CPU, or without gradients: their probabilities are float32
ROWS_ADDED = 2**12  # on a CPU: of the head's gradient at a time
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
    head = _padded(weight, product_dtype(hidden))
    length = _even_length(len(targets), PART_LOGITS // len(head))
    losses = []
    for rows, chunk_targets in _chunks(hidden.to(head.dtype), targets, length=length):
        logits = F.linear(rows, head)
        losses.append(_probabilities_and_loss(logits, len(weight), chunk_targets, ignore_index)[1])
    return torch.stack(losses).sum() / (targets != ignore_index).sum()


class _LinearCrossEntropy(Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, ignore_index: int
    ) -> Tensor:
        head = _padded(weight, product_dtype(hidden))  # (V', C), V' a multiple of ALIGNMENT
        if head.device.type == "cpu" and head.dtype != torch.float32:
            head = head.t().contiguous().t()  # a CPU sums along such columns in 3/4 of the time
        head_gradient = torch.zeros(head.shape, dtype=torch.float32, device=head.device)
        hidden_gradient = torch.empty_like(hidden, dtype=head.dtype)
        length = _even_length(len(targets), CHUNK_BYTES // (head.itemsize * len(head)))
        buffer = hidden_gradient.new_empty(length, len(head))
        losses = []
        chunks = _chunks(hidden.to(head.dtype), targets, hidden_gradient, length=length)
        for rows, chunk_targets, chunk_gradient in chunks:
            logits = torch.mm(rows, head.t(), out=buffer[: len(rows)])
            losses.append(_turn_into_gradient(logits, len(weight), chunk_targets, ignore_index))
            counted = (chunk_targets != ignore_index).to(head.dtype)[:, None]
            torch.mm(logits, head, out=chunk_gradient).mul_(counted)
            _add_product(head_gradient, logits.t(), rows * counted)
        count = (targets != ignore_index).sum()
        ctx.save_for_backward(hidden_gradient, head_gradient[: len(weight)], count)
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


def _padded(weight: Tensor, dtype: torch.dtype) -> Tensor:  # (V, C) -> (V', C)
    """Return the head in the dtype of the products, with rows of zeros up to the alignment."""
    return F.pad(weight.detach().to(dtype), (0, 0, 0, -len(weight) % ALIGNMENT))


def _even_length(tokens: int, most: int) -> int:
    """Return the length of chunks, at least two and nearly alike, of at most `most` tokens."""
    count = max(2, -(-tokens // max(1, most)))
    return max(1, -(-tokens // count))


def _chunks(*tensors: Tensor, length: int) -> Iterator[tuple[Tensor, ...]]:
    """Split tensors along their first dimension, all at the same places."""
    return zip(*(tensor.split(length) for tensor in tensors), strict=True)


def _turn_into_gradient(
    logits: Tensor, vocabulary: int, targets: Tensor, ignore_index: int
) -> Tensor:  # (N, V'), (N,) -> ()
    """Return the sum of the losses, and replace the logits by its gradient by them.

    That is their probabilities, less 1 at the target.
    """
    length = max(1, PART_LOGITS // logits.size(1)) if logits.device.type == "cpu" else len(logits)
    losses = []
    for part, part_targets in _chunks(logits, targets, length=length):
        probabilities, loss = _probabilities_and_loss(part, vocabulary, part_targets, ignore_index)
        each = torch.arange(len(part), device=part.device)
        probabilities[each, _counted_or_0(part_targets, ignore_index)] -= 1
        part.copy_(probabilities)
        del probabilities  # or the next part's would be made beside them
        losses.append(loss)
    return torch.stack(losses).sum()


def _probabilities_and_loss(
    logits: Tensor, vocabulary: int, targets: Tensor, ignore_index: int
) -> tuple[Tensor, Tensor]:  # (N, V'), (N,) -> (N, V'), ()
    """Return the probabilities of all tokens, in float32, and the sum of the targets' losses."""
    logits[:, vocabulary:] = float("-inf")  # the padding
    probabilities = logits.softmax(dim=-1, dtype=torch.float32)
    # ln(sum of exp(logits)), from the likeliest token: the probability of the target may be 0.
    log_sums = logits.amax(dim=-1).float() - probabilities.amax(dim=-1).log()
    nats = log_sums - logits.gather(1, _counted_or_0(targets, ignore_index)[:, None])[:, 0]
    return probabilities, nats.masked_fill(targets == ignore_index, 0).sum()


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add a product of matrices to a sum in float32."""
    if left.dtype == torch.float32:
        total.addmm_(left, right)
        return
    # On a CPU torch makes a copy in float32 of what is added.
    length = ROWS_ADDED if total.device.type == "cpu" else len(total)
    for part, product in _chunks(total, left @ right, length=length):
        part += product


def _counted_or_0(targets: Tensor, ignore_index: int) -> Tensor:
    """Return the targets as ids to index with: those not counted are the first id."""
    return targets.masked_fill(targets == ignore_index, 0)
