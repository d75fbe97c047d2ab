"""Muon: momentum, orthogonalized before it becomes the update of a matrix.

torch.optim.Muon orthogonalizes in bfloat16, which takes a processor without bfloat16 units a
hundred times as long as float32; this one computes in the dtype of the run, and matrices of one
shape together.

Dimension key: N matrices of one shape, R rows, C columns.
Sources: Jordan et al. 2024, kellerjordan.github.io/posts/muon. The scale to AdamW's learning rate:
Liu et al. 2025, arXiv:2502.16982.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gpt2.model.sharding import full_tensor, shard_like

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # an iteration: a X + b (X X^T) X + c (X X^T)^2 X
ITERATIONS = 5
ROW_BETA = 0.95  # decay of NorMuon's average
MOST_ELEMENTS = 2**26  # of the matrices that are orthogonalized together: 256 MiB in float32
ADAMW_UPDATE = 0.2  # root mean square of AdamW's update at a learning rate of 1


class Muon(torch.optim.Optimizer):
    """Updates matrices by their orthogonalized momentum, at a learning rate of AdamW's size.

    Args:
        matrices: The parameters, each of two dimensions.
        lr: Learning rate.
        weight_decay: Decoupled.
        momentum: Decay of the average of the gradients, which is applied as Nesterov's.
        dtype: Of the products.
    """

    def __init__(
        self,
        matrices: Iterable[nn.Parameter],
        *,
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # no loss is computed
        """Update each matrix that has a gradient."""
        for group in self.param_groups:
            of_shape: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for matrix in group["params"]:
                if matrix.grad is not None:
                    of_shape[matrix.shape].append(matrix)
            for shape, matrices in of_shape.items():
                together = max(1, MOST_ELEMENTS // shape.numel())
                for first in range(0, len(matrices), together):
                    self._update(matrices[first : first + together], **group)

    def _update(
        self,
        matrices: Sequence[nn.Parameter],
        *,
        lr: float,
        weight_decay: float,
        momentum: float,
        **_others: object,
    ) -> None:
        """Update matrices of one shape."""
        momenta = [full_tensor(self._nesterov(matrix, momentum)) for matrix in matrices]
        updates = orthogonalize(torch.stack(momenta), self.dtype)  # (N, R, C)
        rate = lr * ADAMW_UPDATE * math.sqrt(max(matrices[0].shape))
        for matrix, update in zip(matrices, updates, strict=True):
            matrix.mul_(1 - lr * weight_decay)
            matrix.sub_(shard_like(matrix, self._normalize_rows(matrix, update)), alpha=rate)

    def _normalize_rows(self, matrix: nn.Parameter, update: Tensor) -> Tensor:  # (R, C) -> (R, C)
        """Return the update as it is; a subclass may change it."""
        return update

    def _nesterov(self, matrix: nn.Parameter, momentum: float) -> Tensor:
        """Move the average of the gradients, and return the gradient that looks ahead."""
        state = self.state[matrix]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        assert matrix.grad is not None
        average = state["momentum_buffer"].lerp_(matrix.grad, 1 - momentum)
        return matrix.grad.lerp(average, momentum)


class NorMuon(Muon):
    """Muon that gives the rows of a matrix, its neurons, updates of equal size.

    Each row is divided by the root of an average of its mean square, and the whole brought back to
    the size that it had.
    Source: Li et al. 2025, arXiv:2510.05491.
    """

    def _normalize_rows(self, matrix: nn.Parameter, update: Tensor) -> Tensor:  # (R, C) -> (R, C)
        state, squares = self.state[matrix], update.square().mean(1, keepdim=True)  # (R, 1)
        before = (
            full_tensor(state["row_squares"]) if "row_squares" in state else squares.new_zeros(1)
        )
        average = before.lerp(squares, 1 - ROW_BETA)  # starts at 0; the rescaling cancels that bias
        state["row_squares"] = shard_like(matrix, average)
        balanced = update / average.sqrt().clamp(min=1e-8)
        return balanced * (update.norm() / balanced.norm().clamp(min=1e-8))


def orthogonalize(
    matrices: Tensor, dtype: torch.dtype = torch.float32
) -> Tensor:  # (N, R, C) -> (N, R, C)
    """Return matrices with the same singular vectors, and singular values of about 1.

    Newton-Schulz iterations whose coefficients drive small singular values up fast; the values end
    between 0.7 and 1.2.

    Args:
        matrices: Of any size, (N, R, C).
        dtype: Of the products; the result has the dtype of `matrices`.
    """
    is_wide = matrices.size(1) <= matrices.size(2)
    x = matrices if is_wide else matrices.mT  # the smaller products
    x = x / x.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]  # so that none is above 1
    x = x.to(dtype)  # after the division, since float16 has nothing below 6e-8
    a, b, c = NEWTON_SCHULZ
    for _ in range(ITERATIONS):
        gram = x @ x.mT  # (N, R, R)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x if is_wide else x.mT).to(matrices.dtype)
