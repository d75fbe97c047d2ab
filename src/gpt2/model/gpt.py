"""The GPT-2 network, token ids to logits.

Dimension key: B rows, T tokens a row, C channels, V vocabulary.
Source: Radford et al. 2019, Language Models are Unsupervised Multitask Learners, section 2.3.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gpt2.config import AttentionBackend, GPT2Config
from gpt2.devices import can_read_without_sync
from gpt2.errors import ConfigError, InputError
from gpt2.model.attention import Attention, causal_mask
from gpt2.model.cache import BlockCache, Cache
from gpt2.model.initialization import ResidualLinear, initialize
from gpt2.model.loss import IGNORED, linear_cross_entropy
from gpt2.model.quantized import QuantizedEmbedding, QuantizedLinear, QuantizedMatrix

gelu_tanh = partial(F.gelu, approximate="tanh")  # Hendrycks and Gimpel 2016, arXiv:1606.08415

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu_new": gelu_tanh,
    "gelu_pytorch_tanh": gelu_tanh,
    "gelu_fast": gelu_tanh,
    "gelu": F.gelu,
    "relu": F.relu,
    "silu": F.silu,
    "swish": F.silu,
}


RECOMPUTED_BYTES = 2**24  # of a block's activations; smaller ones are kept


class MLP(nn.Module):
    """Two projections with a nonlinearity between them."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, config.inner)
        self.activation = ACTIVATIONS[config.activation_function]
        self.c_proj = ResidualLinear(config.inner, config.n_embd)
        self.dropout = nn.Dropout(config.resid_pdrop)

    def forward(self, x: Tensor) -> Tensor:  # (B, T, C) -> (B, T, C)
        hidden = self.c_fc(x)
        if _is_worth_recomputing(hidden):
            # The backward pass computes the activation anew, and no product: with 4 x 1,024 tokens
            # the 124M model takes 0.4 GB less, and its step 2 % longer.
            return self.dropout(
                checkpoint(
                    self._activate_and_project,
                    hidden,
                    use_reentrant=False,
                    preserve_rng_state=False,
                )
            )
        return self.dropout(self._activate_and_project(hidden))

    def _activate_and_project(self, hidden: Tensor) -> Tensor:  # (B, T, inner) -> (B, T, C)
        return self.c_proj(self.activation(hidden))


class Block(nn.Module):
    """Attention, then the MLP: each normalizes the residual stream and adds its output to it."""

    def __init__(self, config: GPT2Config, index: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.attn = Attention(config, index)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.mlp = MLP(config)

    def forward(
        self, x: Tensor, mask: Tensor, cache: BlockCache | None = None
    ) -> Tensor:  # (B, T, C), (1 or B, 1, T, S) -> (B, T, C)
        x = x + self.attn(self.ln_1(x), mask, cache)
        return x + self.mlp(self.ln_2(x))


def _is_worth_recomputing(hidden: Tensor) -> bool:
    """Return whether an MLP's activations are too large to keep for the backward pass.

    On a GPU they are kept: there it is the launches of kernels that count, or the compiler decides.
    """
    if hidden.device.type != "cpu" or torch.compiler.is_compiling():
        return False
    return hidden.requires_grad and hidden.nbytes >= RECOMPUTED_BYTES


class TiedHead(nn.Module):
    """A head whose weight is that of the token embeddings."""

    def __init__(self, embeddings: nn.Embedding | QuantizedEmbedding) -> None:
        super().__init__()
        self._embeddings = (embeddings,)  # in a tuple, so that torch does not count them twice

    @property
    def weight(self) -> Tensor:
        """The token embeddings, (V, C)."""
        return self._embeddings[0].weight

    def forward(self, hidden: Tensor) -> Tensor:  # (B, T, C) -> (B, T, V)
        return F.linear(hidden, self.weight)


class GPT2Network(nn.Module):
    """Embeddings, blocks, and a head, whose weight is the token embeddings' unless untied.

    Args:
        config: Sizes and rates; see `GPT2Config`.
        seed: Seed of the initial weights.
        attention: Backend of all blocks, or of `attention_blocks`: "manual" or "flash".
        attention_blocks: 0-based indices of the blocks that use it; the others use flash.
    """

    mask: Tensor  # causal: lower triangle, (1, 1, n_positions, n_positions)

    def __init__(
        self,
        config: GPT2Config,
        *,
        seed: int = 0,
        attention: AttentionBackend = "flash",
        attention_blocks: Iterable[int] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.gradient_checkpointing = False  # recompute each block in backward: less memory
        self.wte: nn.Embedding | QuantizedEmbedding = nn.Embedding(config.vocab_size, config.n_embd)
        self.wpe = nn.Embedding(config.n_positions, config.n_embd)
        self.drop = nn.Dropout(config.embd_pdrop)
        self.h = nn.ModuleList(Block(config, index) for index in range(config.n_layer))
        self.ln_f = nn.LayerNorm(config.n_embd, eps=config.layer_norm_epsilon)
        self.lm_head: TiedHead | nn.Linear | QuantizedLinear
        if config.tie_word_embeddings:
            self.tie_head()
        else:
            self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        # On the CPU even under torch.device("meta"): no file holds it, so nothing would fill it.
        self.register_buffer("mask", causal_mask(config.n_positions), persistent=False)
        initialize(self, deviation=config.initializer_range, n_layer=config.n_layer, seed=seed)
        self.set_attention(attention, attention_blocks)

    def forward(self, ids: Tensor) -> Tensor:  # (B, T) -> (B, T, V)
        """Return the logits of the token after each token.

        Raises:
            InputError: `ids` are no integers of the shape (B, T), T is not 1 to n_positions, or,
                on a CPU, an id is outside the vocabulary.
        """
        return self.logits(self.hidden(ids))

    def logits(self, hidden: Tensor) -> Tensor:  # (B, T, C) -> (B, T, V)
        """Return the logits of the token after each token, from what `hidden` returns."""
        return self.lm_head(hidden)

    def hidden(self, ids: Tensor, cache: Cache | None = None) -> Tensor:  # (B, T) -> (B, T, C)
        """Return what the head reads: the residual stream after the last block, normalized.

        Args:
            ids: The tokens; with a cache, the new tokens alone.
            cache: Keys and values of the tokens before; those of `ids` are appended to it.
        """
        self._check("ids", ids, 0 if cache is None else cache.longest)
        length = ids.size(1)
        if cache is None:
            positions = torch.arange(length, device=ids.device)
            mask = self.mask[:, :, :length, :length]
        else:
            positions = cache.positions(length)
            mask = cache.mask(positions)
        x = self.drop(self.wte(ids) + self.wpe(positions))
        for index, block in enumerate(self.h):
            inputs = x, mask, None if cache is None else cache.block(index)
            if self.gradient_checkpointing and self.training:
                x = checkpoint(block, *inputs, use_reentrant=False)
            else:
                x = block(*inputs)
        return self.ln_f(x)

    def loss(self, ids: Tensor, targets: Tensor, *, ignore_index: int = IGNORED) -> Tensor:
        """Return the mean negative log-likelihood of `targets`, in nats a token.

        Args:
            ids: Token ids, (B, T).
            targets: The token after each, (B, T).
            ignore_index: Target of tokens that are not counted, such as padding.
        Raises:
            InputError: The shapes differ, or an id or target is one that the model does not have.
        """
        if ids.shape != targets.shape:
            raise InputError(
                "ids and targets must have one shape, got "
                f"{tuple(ids.shape)} and {tuple(targets.shape)}"
            )
        self._check("targets", targets.masked_fill(targets == ignore_index, 0))
        hidden = self.hidden(ids).flatten(0, 1)  # (B * T, C)
        weight = self.lm_head.weight
        return linear_cross_entropy(hidden, weight, targets.flatten().long(), ignore_index)

    def tie_head(self) -> None:
        """Make the head read the token embeddings that the network has now."""
        self.lm_head = TiedHead(self.wte)

    def set_attention(self, backend: AttentionBackend, blocks: Iterable[int] | None = None) -> None:
        """Choose the attention backend of all blocks, or of those listed; the others keep theirs.

        Raises:
            ConfigError: The backend is unknown, or there is no such block.
        """
        chosen = range(len(self.h)) if blocks is None else list(blocks)
        if outside := [i for i in chosen if not 0 <= i < len(self.h)]:
            raise ConfigError(f"blocks must be 0 to {len(self.h) - 1}, got {outside}")
        for i in chosen:
            self.block(i).attn.backend = backend

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile in place, with the arguments of torch.compile.

        Block by block: they are alike, so that the first to be compiled serves them all.
        """
        # Where each block has another scale, torch would give up after 8 variants of one function.
        if self.config.scale_attn_by_inverse_layer_idx:
            kwargs.setdefault("isolate_recompiles", True)
        for block in self.h:
            block.compile(*args, **kwargs)

    def block(self, index: int) -> Block:
        """Return a block by its 0-based index."""
        block = self.h[index]
        assert isinstance(block, Block)
        return block

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.wpe.weight.device

    def num_parameters(self) -> int:
        """Return the number of weights; a tied head is counted once, quantized ones as others."""
        quantized = (m for m in self.modules() if isinstance(m, QuantizedMatrix))
        return sum(p.numel() for p in self.parameters()) + sum(
            matrix.rows * matrix.columns for matrix in quantized
        )

    def flops_per_token(self, length: int | None = None) -> int:
        """Return the floating-point operations of one training step, per token of it.

        Args:
            length: Tokens a row; n_positions if not given.
        Source: Chowdhery et al. 2022, arXiv:2204.02311, appendix B: 6 a weight that multiplies,
        and 12 a layer, channel and token of the row.
        """
        config = self.config
        embedding_weights = self.wpe.weight.numel()
        if not config.tie_word_embeddings:
            embedding_weights += config.vocab_size * config.n_embd
        matmul_weights = self.num_parameters() - embedding_weights
        return 6 * matmul_weights + 12 * config.n_layer * config.n_embd * (
            length or config.n_positions
        )

    def _check(self, name: str, ids: Tensor, past: int = 0) -> None:
        most = self.config.n_positions - past
        if ids.ndim != 2 or not 1 <= ids.size(1) <= most or not len(ids):
            after = f" after the {past} that are cached" if past else ""
            raise InputError(
                f"{name} must be (rows, 1 to {most} tokens){after}, "
                f"got the shape {tuple(ids.shape)}"
            )
        if ids.dtype not in (torch.int64, torch.int32):
            raise InputError(f"{name} must be of torch.int64 or torch.int32, got {ids.dtype}")
        if not can_read_without_sync(ids.device) or torch.compiler.is_compiling():
            return
        lowest, highest = int(ids.min()), int(ids.max())
        if lowest < 0 or highest >= self.config.vocab_size:
            raise InputError(
                f"{name} must be 0 to {self.config.vocab_size - 1}, the vocabulary of this model, "
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
