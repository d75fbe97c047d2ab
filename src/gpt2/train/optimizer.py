"""The optimizers: AdamW, or Muon for the matrices inside the blocks with AdamW for the rest.

Sources: AdamW, Loshchilov and Hutter 2019, arXiv:1711.05101. Muon, Jordan et al. 2024,
kellerjordan.github.io/posts/muon; its scale to AdamW's learning rate, Liu et al. 2025,
arXiv:2502.16982.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gpt2.config import OptimizerConfig
from gpt2.devices import has_fused_optimizers

MUON_MOMENTUM = 0.95


def make_optimizers(model: nn.Module, config: OptimizerConfig) -> list[torch.optim.Optimizer]:
    """Return the optimizers, which together update each parameter once.

    Weight decay is decoupled and acts on parameters of two or more dimensions only: biases and
    LayerNorm's gains do not decay.
    """
    parameters = dict(model.named_parameters())
    matrices = [tensor for tensor in parameters.values() if tensor.ndim >= 2]
    vectors = [tensor for tensor in parameters.values() if tensor.ndim < 2]
    if config.kind == "adamw":
        return [_adamw(matrices, vectors, config)]
    inside = [t for name, t in parameters.items() if t.ndim >= 2 and name.startswith("h.")]
    embeddings = [t for name, t in parameters.items() if t.ndim >= 2 and not name.startswith("h.")]
    muon = torch.optim.Muon(
        inside,
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        momentum=MUON_MOMENTUM,
        adjust_lr_fn="match_rms_adamw",
    )
    return [muon, _adamw(embeddings, vectors, config)]


def _adamw(
    decayed: Sequence[Tensor], others: Sequence[Tensor], config: OptimizerConfig
) -> torch.optim.Optimizer:
    groups = [
        {"params": list(decayed), "weight_decay": config.weight_decay},
        {"params": list(others), "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        eps=config.epsilon,
        fused=has_fused_optimizers(decayed[0].device),
    )
