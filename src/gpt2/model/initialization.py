"""GPT-2's initial weights.

Sources: Radford et al. 2019, section 2.3 (residual projections scaled by depth); OpenAI, gpt-2,
src/model.py (0.02 for weights, 0.01 for positions, zero biases).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

POSITION_DEVIATION = 0.01


class ResidualLinear(nn.Linear):
    """A projection whose outcome is added to the residual stream: `initialize` scales it down."""


def initialize(network: nn.Module, *, deviation: float, n_layer: int, seed: int) -> None:
    """Draw every parameter of a GPT-2 from a new generator with the seed `seed`.

    Args:
        network: The modules to initialize, in place.
        deviation: Standard deviation of weights, token embeddings and head.
        n_layer: Blocks; each adds to the residual stream twice, so that each
            `ResidualLinear` gets a deviation smaller by sqrt(2 * n_layer).
        seed: Seed of the generator; equal seeds give equal weights.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, module in network.named_modules():
        if isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            scale = POSITION_DEVIATION if name.endswith("wpe") else deviation
            nn.init.normal_(module.weight, std=scale, generator=generator)
        elif isinstance(module, nn.Linear):
            residual = isinstance(module, ResidualLinear)
            scale = deviation / math.sqrt(2 * n_layer) if residual else deviation
            nn.init.normal_(module.weight, std=scale, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


class _DrawNothing(TorchFunctionMode):
    """Lets the functions of torch.nn.init return at once."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


@contextmanager
def shapes_alone() -> Iterator[None]:
    """Make networks on the meta device while the context lasts: they have shapes, no numbers.

    Nothing is drawn: on that device it would load torch's compiler, which takes a second.
    """
    with torch.device("meta"), _DrawNothing():
        yield
