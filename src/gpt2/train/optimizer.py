"""The optimizers: AdamW, or Muon for the matrices inside the blocks with AdamW for the rest.

Source: AdamW, Loshchilov and Hutter 2019, arXiv:1711.05101.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gpt2.config import OptimizerConfig
from gpt2.devices import has_fused_optimizers
from gpt2.train.muon import Muon, NorMuon

EMBEDDINGS = ("wte.weight", "wpe.weight")


def make_optimizers(
    model: nn.Module, config: OptimizerConfig, dtype: torch.dtype = torch.float32
) -> list[torch.optim.Optimizer]:
    """Return the optimizers, which together update each parameter once.

    Weight decay is decoupled and acts on parameters of two or more dimensions only: biases and
    LayerNorm's gains do not decay.

    Args:
        model: What to train.
        config: The settings.
        dtype: Of the matrix products in them.
    """
    named = list(model.named_parameters())
    vectors = [tensor for _, tensor in named if tensor.ndim < 2]
    matrices = {name: tensor for name, tensor in named if tensor.ndim >= 2}
    inside = [matrices.pop(name) for name in list(matrices) if name.startswith("h.")]
    embeddings = [matrices.pop(name) for name in EMBEDDINGS if name in matrices]
    others = list(matrices.values())  # the head, unless it is tied
    rate, decay = config.learning_rate, config.weight_decay
    embedding_scale = (config.embedding_learning_rate or rate) / rate
    groups = [(embeddings, embedding_scale, decay), (others, 1.0, decay), (vectors, 1.0, 0.0)]
    if config.kind == "adamw":
        return [_adamw([(inside, 1.0, decay), *groups], config)]
    block_optimizer = NorMuon if config.kind == "normuon" else Muon
    return [
        block_optimizer(inside, lr=rate, weight_decay=decay, dtype=dtype),
        _adamw(groups, config),
    ]


def set_learning_rate(optimizers: Iterable[torch.optim.Optimizer], rate: float) -> None:
    """Set the rate of the next step; embeddings keep their ratio to it."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * group.get("rate_scale", 1.0)


def _adamw(
    groups: Iterable[tuple[Sequence[Tensor], float, float]], config: OptimizerConfig
) -> torch.optim.Optimizer:
    """Return AdamW over groups of parameters, the scale of their rate, and their weight decay."""
    filled: list[dict[str, Any]] = [
        {"params": parameters, "rate_scale": scale, "weight_decay": decay}
        for parameters, scale, decay in groups
        if parameters
    ]
    return torch.optim.AdamW(
        filled,
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        fused=has_fused_optimizers(filled[0]["params"][0].device),
    )
