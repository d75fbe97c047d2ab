"""The shape of a GPT-2."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal, Self

from gpt2.config.checks import check, check_choice, look_up
from gpt2.config.toml import check_types
from gpt2.errors import ConfigError

AttentionBackend = Literal["manual", "flash"]
Activation = Literal[
    "gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu", "relu", "silu", "swish"
]  # the first three are one function
SIZES = ("n_layer", "n_head", "n_embd", "n_positions", "vocab_size")  # of every model

# Far beyond every model. Products of sizes stay below 2**63, and a damaged config.json does not
# keep a process busy with building blocks.
LARGEST_SIZE, MOST_LAYERS = 2**24, 2**12
MOST_POSITIONS = 2**16  # the causal mask has a byte for each pair of them: 4 GiB


@dataclass(frozen=True, kw_only=True)
class GPT2Config:
    """The shape of a GPT-2, in the names of Hugging Face's config.json.

    >>> GPT2Config.preset("gpt2-xl").n_layer
    48
    """

    vocab_size: int = 50257
    """Tokens in the vocabulary."""
    n_positions: int = 1024
    """Longest context, in tokens."""
    n_embd: int = 768
    """Channels of the residual stream."""
    n_layer: int = 12
    """Blocks."""
    n_head: int = 12
    """Attention heads a block."""
    n_inner: int | None = None
    """Channels inside the MLP; 4 * n_embd if not set."""
    activation_function: Activation = "gelu_new"
    """Between the two projections of the MLP; the released models have gelu_new."""
    layer_norm_epsilon: float = 1e-5
    """Added to the variance in every LayerNorm."""
    scale_attn_weights: bool = True
    """Divide attention scores by sqrt(channels a head)."""
    scale_attn_by_inverse_layer_idx: bool = False
    """Divide the attention scores of the n-th block by n, too."""
    reorder_and_upcast_attn: bool = False
    """Compute attention scores in float32, whatever the dtype."""
    tie_word_embeddings: bool = True
    """Use the token embeddings as the head, too."""
    embd_pdrop: float = 0.1
    """Dropout rate of the embeddings."""
    attn_pdrop: float = 0.1
    """Dropout rate of the attention weights."""
    resid_pdrop: float = 0.1
    """Dropout rate of what each block adds to the residual stream."""
    initializer_range: float = 0.02
    """Standard deviation of the initial weights."""

    def __post_init__(self) -> None:
        check_types(self)
        for name in (*SIZES, "n_inner"):
            size = getattr(self, name)
            most = {"n_layer": MOST_LAYERS, "n_positions": MOST_POSITIONS}.get(name, LARGEST_SIZE)
            fits = size is None or 1 <= size <= most
            check(fits, f"{name} must be 1 to {most}", size)
        for name in ("embd_pdrop", "attn_pdrop", "resid_pdrop"):
            rate = getattr(self, name)
            check(0 <= rate < 1, f"{name} must be at least 0 and below 1", rate)
        check_choice("activation_function", self.activation_function, Activation)
        check(
            0 < self.layer_norm_epsilon < math.inf,
            "layer_norm_epsilon must be above 0",
            self.layer_norm_epsilon,
        )
        check(
            0 <= self.initializer_range < math.inf,
            "initializer_range must be at least 0 and finite",
            self.initializer_range,
        )
        if extra := self.n_embd % self.n_head:
            raise ConfigError(
                f"n_embd must be a multiple of n_head, got n_embd={self.n_embd} and "
                f"n_head={self.n_head}; the next that fits is {self.n_embd - extra + self.n_head}"
            )

    @property
    def inner(self) -> int:
        """Channels inside the MLP."""
        return 4 * self.n_embd if self.n_inner is None else self.n_inner

    @classmethod
    def preset(cls, name: str) -> Self:
        """Return the shape of a released model.

        Args:
            name: "gpt2", "gpt2-medium", "gpt2-large" or "gpt2-xl".
        Raises:
            ConfigError: No released model has this name.
        """
        return cls().with_preset(name)

    def with_preset(self, name: str) -> Self:
        """Return this shape with the layers, heads and channels of a released model.

        Raises:
            ConfigError: No released model has this name.
        """
        return dataclasses.replace(self, **look_up(PRESETS, "preset", name))


PRESETS: dict[str, dict[str, int]] = {
    "gpt2": {"n_layer": 12, "n_head": 12, "n_embd": 768},
    "gpt2-medium": {"n_layer": 24, "n_head": 16, "n_embd": 1024},
    "gpt2-large": {"n_layer": 36, "n_head": 20, "n_embd": 1280},
    "gpt2-xl": {"n_layer": 48, "n_head": 25, "n_embd": 1600},
}
