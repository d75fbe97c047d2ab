"""GPT-2 as most tutorials train it: stock modules, and all logits at once in float32.

It is what `gpt2 bench train` calls nanogpt-like. As in nanoGPT the vocabulary is padded to a
multiple of 64, for speed. The scale of attention and the activation are GPT-2's, whatever a recipe
has.
Dimension key: B rows, T tokens a row, C channels, H heads, D channels a head, V vocabulary.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt2.config import GPT2Config

PADDED_TO = 64


class PlainAttention(nn.Module):
    """Causal self-attention by torch's own function."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.n_head, self.drop_rate = config.n_head, config.attn_pdrop
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, C) -> (B, T, C)
        rows, length, channels = x.shape
        q, k, v = (
            part.view(rows, length, self.n_head, -1).transpose(1, 2)  # (B, H, T, D)
            for part in self.c_attn(x).split(channels, dim=2)
        )
        drop_rate = self.drop_rate if self.training else 0.0
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=drop_rate, is_causal=True)
        mixed = mixed.transpose(1, 2).contiguous().view(rows, length, channels)
        return self.dropout(self.c_proj(mixed))


class PlainMLP(nn.Module):
    """Two projections with GELU between them."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, config.inner)
        self.gelu = nn.GELU(approximate="tanh")
        self.c_proj = nn.Linear(config.inner, config.n_embd)
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, C) -> (B, T, C)
        return self.dropout(self.c_proj(self.gelu(self.c_fc(x))))


class PlainBlock(nn.Module):
    """Attention, then the MLP, each added to the residual stream."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = PlainAttention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = PlainMLP(config)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, C) -> (B, T, C)
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class PlainGPT(nn.Module):
    """The network with its loss; the names of its modules are those of the released weights."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        vocabulary = -(-config.vocab_size // PADDED_TO) * PADDED_TO
        self.wte = nn.Embedding(vocabulary, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList(PlainBlock(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.lm_head = nn.Linear(config.n_embd, vocabulary, bias=False)
        self.apply(_initialize)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.wte.weight

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:  # (B, T), (B, T) -> ()
        positions = torch.arange(ids.size(1), device=ids.device)
        x = self.drop(self.wte(ids) + self.wpe(positions))
        for block in self.h:
            x = block(x)
        logits = self.lm_head(self.ln_f(x)).float()  # (B, T, V)
        return F.cross_entropy(logits.view(-1, logits.size(-1)), targets.reshape(-1))


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
