"""Causal self-attention with two interchangeable backends: one to read, one to run.

Dimension key: B rows, T tokens a row, C channels, H heads, D channels a head (C = H * D).
Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.
"""

import math
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt2.config import AttentionBackend, GPT2Config
from gpt2.errors import ConfigError
from gpt2.model.initialization import ResidualLinear


def manual_attention(
    q: Tensor, k: Tensor, v: Tensor, past: Tensor, drop_rate: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Attend by the formula: softmax(Q K^T / sqrt(D)) V, each token over its past alone.

    Args:
        q: Queries, (B, H, T, D).
        k: Keys, (B, H, T, D).
        v: Values, (B, H, T, D).
        past: Which tokens (columns) each token (row) may see, (1, 1, T, T), boolean.
        drop_rate: Share of the weights to drop, 0 to 1.
    Returns:
        The weighted sums (B, H, T, D), and the weights before dropout (B, H, T, T).
    """
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))  # (B, H, T, T)
    weights = scores.masked_fill(~past, float("-inf")).softmax(dim=-1)
    return F.dropout(weights, drop_rate) @ v, weights


def flash_attention(q: Tensor, k: Tensor, v: Tensor, drop_rate: float = 0.0) -> Tensor:
    """Attend as `manual_attention` does, with no (T, T) matrix in memory.

    Source: Dao et al. 2022, arXiv:2205.14135.
    """
    return F.scaled_dot_product_attention(q, k, v, dropout_p=drop_rate, is_causal=True)


class Attention(nn.Module):
    """Causal self-attention, all heads at once. Module names are those of the released weights."""

    past: Tensor  # lower triangle, (1, 1, n_positions, n_positions)

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.drop_rate = config.attn_pdrop
        self.backend = "flash"
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = ResidualLinear(config.n_embd, config.n_embd)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)
        square = torch.ones(config.n_positions, config.n_positions, dtype=torch.bool)
        self.register_buffer("past", square.tril()[None, None], persistent=False)

    @property
    def backend(self) -> AttentionBackend:
        """The backend in use: "manual" or "flash"."""
        return self._backend

    @backend.setter
    def backend(self, backend: AttentionBackend) -> None:
        if backend not in (known := get_args(AttentionBackend)):
            raise ConfigError(f"attention must be one of {', '.join(known)}, got {backend!r}")
        self._backend = backend

    def forward(self, x: Tensor) -> Tensor:  # (B, T, C) -> (B, T, C)
        q, k, v = self.project(x)
        drop_rate = self.drop_rate if self.training else 0.0
        if self.backend == "manual":
            mixed, _ = manual_attention(q, k, v, self._past(x.size(1)), drop_rate)
        else:
            mixed = flash_attention(q, k, v, drop_rate)
        return self.resid_dropout(self.c_proj(mixed.transpose(1, 2).flatten(2)))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the queries, keys and values of all heads, each (B, H, T, D)."""
        qkv = self.c_attn(x).unflatten(-1, (3, self.n_head, -1))  # (B, T, 3, H, D)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        return q, k, v

    def weights(self, x: Tensor) -> Tensor:  # (B, T, C) -> (B, H, T, T)
        """Return how much each token attends to each token before it; rows sum to 1."""
        return manual_attention(*self.project(x), self._past(x.size(1)))[1]

    def _past(self, length: int) -> Tensor:
        return self.past[:, :, :length, :length]
