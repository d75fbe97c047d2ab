"""Causal self-attention with two interchangeable backends: one to read, one to run.

Dimension key: B rows, T tokens a row, S tokens that are attended to (the T and, with a cache, those
before them), C channels, H heads, D channels a head (C = H * D).
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
from gpt2.model.blocked_attention import blocked_attention
from gpt2.model.cache import BlockCache
from gpt2.model.initialization import ResidualLinear


def manual_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor,
    *,
    is_causal: bool = False,
    scale: float,
    drop_rate: float = 0.0,
    upcast: bool = False,
) -> tuple[Tensor, Tensor]:
    """Attend by the formula: softmax(Q K^T * scale) V, each token to itself and those before it.

    Args:
        q: Queries, (B, H, T, D).
        k: Keys, (B, H, S, D).
        v: Values, (B, H, S, D).
        mask: Which tokens (columns) each token (row) may attend to, (1 or B, 1, T, S), boolean.
        is_causal: Whether the mask is the whole lower triangle, so that flash need not read it.
        scale: Factor of the scores; 1 / sqrt(D) in the paper.
        drop_rate: Share of the weights to drop, 0 to 1.
        upcast: Compute the scores in float32.
    Returns:
        The weighted sums (B, H, T, D), and the weights before dropout (B, H, T, S).
    """
    if upcast:
        with full_precision(q.device):
            scores = q.float() @ k.float().transpose(-2, -1)  # (B, H, T, S)
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
    is_causal: bool = False,
    scale: float,
    drop_rate: float = 0.0,
    upcast: bool = False,
) -> tuple[Tensor, None]:
    """Attend as `manual_attention` does, with no (T, S) matrix in memory, so none to return.

    Scores are in float32 with and without `upcast`, save where `is_fast_by_blocks`.
    Source: Dao et al. 2022, arXiv:2205.14135.
    """
    if is_causal and not drop_rate and not upcast and is_fast_by_blocks(q):
        return blocked_attention(q, k, v, scale), None
    chosen = None if is_causal else mask
    mixed = F.scaled_dot_product_attention(
        q, k, v, attn_mask=chosen, dropout_p=drop_rate, is_causal=is_causal, scale=scale
    )
    return mixed, None


def is_fast_by_blocks(q: Tensor) -> bool:
    """Return whether `blocked_attention` is faster than torch's flash attention.

    With units for bfloat16, torch's takes twice as long as plain products; in float32 it does not.
    """
    return q.device.type == "cpu" and q.dtype == torch.bfloat16


BACKENDS: dict[AttentionBackend, Callable[..., tuple[Tensor, Tensor | None]]] = {
    "manual": manual_attention,
    "flash": flash_attention,
}


class Attention(nn.Module):
    """Causal self-attention, all heads at once. Module names are those of the released weights.

    Args:
        config: Sizes, rates and scales.
        index: 0-based index of the block.
    """

    def __init__(self, config: GPT2Config, index: int = 0) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.drop_rate = config.attn_pdrop
        self.upcast = config.reorder_and_upcast_attn
        channels = config.n_embd // config.n_head
        self.scale = 1 / math.sqrt(channels) if config.scale_attn_weights else 1.0
        if config.scale_attn_by_inverse_layer_idx:
            self.scale /= index + 1
        self.backend = "flash"
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = ResidualLinear(config.n_embd, config.n_embd)
        self.resid_dropout = nn.Dropout(config.resid_pdrop)

    @property
    def backend(self) -> AttentionBackend:
        """The backend in use: "manual" or "flash"."""
        return self._backend

    @backend.setter
    def backend(self, backend: AttentionBackend) -> None:
        if backend not in BACKENDS:
            raise ConfigError(f"attention must be one of {', '.join(BACKENDS)}, got {backend!r}")
        self._backend = backend

    def forward(
        self, x: Tensor, mask: Tensor, cache: BlockCache | None = None
    ) -> Tensor:  # (B, T, C), (1 or B, 1, T, S) -> (B, T, C)
        q, k, v = self.project(x)
        if cache is not None:
            k, v = cache.append(k, v)  # now of S tokens
        mixed, _ = BACKENDS[self.backend](
            q,
            k,
            v,
            mask,
            is_causal=cache is None,
            scale=self.scale,
            drop_rate=self.drop_rate if self.training else 0.0,
            upcast=self.upcast,
        )
        return self.resid_dropout(self.c_proj(mixed.transpose(1, 2).flatten(2)))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the queries, keys and values of all heads, each (B, H, T, D)."""
        return self.split_heads(self.c_attn(x))

    def split_heads(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # (B, T, 3 C)
        """Split what c_attn returns into queries, keys and values, each (B, H, T, D)."""
        qkv = qkv.unflatten(-1, (3, self.n_head, -1))  # (B, T, 3, H, D)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        return q, k, v

    def weights(self, x: Tensor, mask: Tensor) -> Tensor:  # (B, T, C) -> (B, H, T, T)
        """Return how much each token attends to itself and each token before it; rows sum to 1."""
        return manual_attention(
            *self.project(x), mask, is_causal=True, scale=self.scale, upcast=self.upcast
        )[1]


def causal_mask(length: int) -> Tensor:
    """Return which tokens (columns) each token (row) may attend to, (1, 1, T, T), boolean."""
    return torch.ones(1, 1, length, length, dtype=torch.bool, device="cpu").tril()
