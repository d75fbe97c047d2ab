"""The GPT-2 network, token ids to logits.

Dimension key: B rows, T tokens a row, C channels, V vocabulary.
Source: Radford et al. 2019, Language Models are Unsupervised Multitask Learners, section 2.3.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gpt2.config import AttentionBackend, GPT2Config
from gpt2.devices import reads_for_free
from gpt2.errors import ConfigError, InputError
from gpt2.model.attention import Attention
from gpt2.model.initialization import ResidualLinear, initialize


class MLP(nn.Module):
    """Two projections with GELU between them, in its tanh form, which the released weights need.

    Source: Hendrycks and Gimpel 2016, arXiv:1606.08415.
    """

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, config.inner)
        self.c_proj = ResidualLinear(config.inner, config.n_embd)
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, C) -> (B, T, C)
        return self.dropout(self.c_proj(F.gelu(self.c_fc(x), approximate="tanh")))


class Block(nn.Module):
    """Attention, then the MLP; each reads a normalized stream and adds what it finds to it."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = MLP(config)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, C) -> (B, T, C)
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT2Network(nn.Module):
    """Embeddings, blocks, and the token embeddings again as the head.

    Args:
        config: Sizes and rates; see `GPT2Config`.
        seed: Seed of the initial weights.
    """

    def __init__(self, config: GPT2Config, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.gradient_checkpointing = False  # recompute each block in backward: less memory
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        initialize(self, deviation=config.initializer_range, n_layer=config.n_layer, seed=seed)

    def forward(self, ids: Tensor) -> Tensor:  # (B, T) -> (B, T, V)
        """Return the logits of the token after each token.

        Raises:
            InputError: `ids` is not (B, T), T is not 1 to n_positions, or, on a CPU, an id is
                outside the vocabulary.
        """
        return F.linear(self.hidden(ids), self.wte.weight)

    def hidden(self, ids: Tensor) -> Tensor:  # (B, T) -> (B, T, C)
        """Return what the head reads: the stream after the last block, normalized."""
        self._check(ids)
        x = self.drop(self.wte(ids) + self.wpe.weight[: ids.size(1)])
        for block in self.h:
            if self.gradient_checkpointing and self.training:
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
        return self.ln_f(x)

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:  # (B, T), (B, T) -> ()
        """Return the mean negative log-likelihood of `targets`, in nats a token."""
        if ids.shape != targets.shape:
            raise InputError(
                "ids and targets must have one shape, got "
                f"{tuple(ids.shape)} and {tuple(targets.shape)}"
            )
        return F.cross_entropy(self(ids).flatten(0, 1).float(), targets.flatten())

    def set_attention(self, backend: AttentionBackend, blocks: Iterable[int] | None = None) -> None:
        """Choose the attention backend of all blocks, or of those listed; weights stay as they are.

        Raises:
            ConfigError: The backend is unknown, or there is no such block.
        """
        chosen = range(len(self.h)) if blocks is None else list(blocks)
        if outside := [i for i in chosen if not 0 <= i < len(self.h)]:
            raise ConfigError(f"blocks must be 0 to {len(self.h) - 1}, got {outside}")
        for i in chosen:
            self.block(i).attn.backend = backend

    def block(self, number: int) -> Block:
        """Return a block, the first being 0."""
        block = self.h[number]
        assert isinstance(block, Block)
        return block

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.wte.weight.device

    def num_parameters(self) -> int:
        """Return the number of weights; the head is the token embeddings and counted once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def flops_per_token(self) -> int:
        """Return the floating-point operations of one training step, per token of it.

        Source: Chowdhery et al. 2022, arXiv:2204.02311, appendix B: 6 a weight that multiplies,
        and 12 a layer, channel and token attended to, at full context.
        """
        config = self.config
        matrices = self.num_parameters() - self.wpe.weight.numel()
        return 6 * matrices + 12 * config.n_layer * config.n_embd * config.n_positions

    def _check(self, ids: Tensor) -> None:
        if ids.ndim != 2 or not 1 <= ids.size(1) <= self.config.n_positions:
            raise InputError(
                f"ids must be (rows, 1 to {self.config.n_positions} tokens), "
                f"got the shape {tuple(ids.shape)}"
            )
        if reads_for_free(ids.device) and not torch.compiler.is_compiling() and ids.numel():
            lowest, highest = int(ids.min()), int(ids.max())
            if lowest < 0 or highest >= self.config.vocab_size:
                raise InputError(
                    f"ids must be 0 to {self.config.vocab_size - 1}, the vocabulary of this model, "
                    f"got {lowest} to {highest}"
                )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch dropout off while the context lasts."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)
