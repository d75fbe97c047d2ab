"""Causal self-attention with two interchangeable backends: one to read, one to run.

Dimension key: B rows, T tokens a row, C channels, H heads, D channels a head (C = H * D).
Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt2.config import AttentionBackend, GPT2Config
from gpt2.devices import full_precision
from gpt2.errors import ConfigError
from gpt2.model.initialization import ResidualLinear


def manual_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor,
    *,
    scale: float,
    drop_rate: float = 0.0,
    upcast: bool = False,
) -> tuple[Tensor, Tensor]:
    """Attend by the formula: softmax(Q K^T * scale) V, each token over its past alone.

    Args:
        q: Queries, (B, H, T, D).
        k: Keys, (B, H, T, D).
        v: Values, (B, H, T, D).
        mask: Which tokens (columns) each token (row) may see: the lower triangle, (1, 1, T, T),
            boolean.
        scale: Factor of the scores; 1 / sqrt(D) in the paper.
        drop_rate: Share of the weights to drop, 0 to 1.
        upcast: Compute the scores in float32.
    Returns:
        The weighted sums (B, H, T, D), and the weights before dropout (B, H, T, T).
    """
    if upcast:
        with full_precision(q.device):
            scores = q.float() @ k.float().transpose(-2, -1)  # (B, H, T, T)
    else:
        scores = q @ k.transpose(-2, -1)
    weights = (scores * scale).masked_fill(~mask, float("-inf")).softmax(dim=-1).to(v.dtype)
    return F.dropout(weights, drop_rate) @ v, weights


def flash_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor,
    *,
    scale: float,
    drop_rate: float = 0.0,
    upcast: bool = False,
) -> tuple[Tensor, None]:
    """Attend as `manual_attention` does, with no (T, T) matrix in memory, so none to return.

    The triangle is known without `mask`, and scores are in float32 without `upcast`.
    Source: Dao et al. 2022, arXiv:2205.14135.
    """
    mixed = F.scaled_dot_product_attention(
        q, k, v, dropout_p=drop_rate, is_causal=True, scale=scale
    )
    return mixed, None


BACKENDS: dict[AttentionBackend, Callable[..., tuple[Tensor, Tensor | None]]] = {
    "manual": manual_attention,
    "flash": flash_attention,
}


class Attention(nn.Module):
    """Causal self-attention, all heads at once. Module names are those of the released weights.

    Args:
        config: Sizes, rates and scales.
        number: Of the block, the first being 0.
    """

    mask: Tensor  # causal: lower triangle, (1, 1, n_positions, n_positions)

    def __init__(self, config: GPT2Config, number: int = 0) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.drop_rate = config.attn_pdrop
        self.upcast = config.reorder_and_upcast_attn
        channels = config.n_embd // config.n_head
        self.scale = 1 / math.sqrt(channels) if config.scale_attn_weights else 1.0
        if config.scale_attn_by_inverse_layer_idx:
            self.scale /= number + 1
        self.backend = "flash"
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = ResidualLinear(config.n_embd, config.n_embd)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)
        self.register_buffer("mask", causal_mask(config.n_positions), persistent=False)

    @property
    def backend(self) -> AttentionBackend:
        """The backend in use: "manual" or "flash"."""
        return self._backend

    @backend.setter
    def backend(self, backend: AttentionBackend) -> None:
        if backend not in BACKENDS:
            raise ConfigError(f"attention must be one of {', '.join(BACKENDS)}, got {backend!r}")
        self._backend = backend

    def forward(self, x: Tensor) -> Tensor:  # (B, T, C) -> (B, T, C)
        mixed, _ = BACKENDS[self.backend](
            *self.project(x),
            self.mask_for(x),
            scale=self.scale,
            drop_rate=self.drop_rate if self.training else 0.0,
            upcast=self.upcast,
        )
        return self.resid_dropout(self.c_proj(mixed.transpose(1, 2).flatten(2)))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the queries, keys and values of all heads, each (B, H, T, D)."""
        qkv = self.c_attn(x).unflatten(-1, (3, self.n_head, -1))  # (B, T, 3, H, D)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        return q, k, v

    def mask_for(self, x: Tensor) -> Tensor:  # (B, T, C) -> (1, 1, T, T)
        """Return which tokens each token may see."""
        return self.mask[:, :, : x.size(1), : x.size(1)]

    def weights(self, x: Tensor) -> Tensor:  # (B, T, C) -> (B, H, T, T)
        """Return how much each token attends to each token before it; rows sum to 1."""
        q, k, v = self.project(x)
        return manual_attention(q, k, v, self.mask_for(x), scale=self.scale, upcast=self.upcast)[1]


def causal_mask(length: int, device: torch.device | str | None = None) -> Tensor:
    """Return which tokens (columns) each token (row) may see, (1, 1, T, T), boolean."""
    return torch.ones(1, 1, length, length, dtype=torch.bool, device=device).tril()
