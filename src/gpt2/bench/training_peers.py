"""Other models in a plain training loop, which `gpt2 bench train` measures beside ours.

They run as users run them: autocast, gradient clipping and fused AdamW, without what
`devices.make_training_fast` sets up.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from gpt2 import devices
from gpt2.bench.plain_gpt import PlainGPT
from gpt2.config import GPT2Config, OptimizerConfig, RunConfig
from gpt2.data.batches import Batches

# Each with the packages that it needs, by the name that both pip and Python know.
TRAINING_PEERS: dict[str, tuple[str, ...]] = {"transformers": ("transformers",), "nanogpt-like": ()}

Loss = Callable[[Tensor, Tensor], Tensor]  # ids (B, T), targets (B, T) -> nats a token


class PlainTrainer:
    """A training loop as most tutorials write it.

    Args:
        model: What to train.
        loss: Its loss.
        batches: The rows of each step.
        device: Where the model is.
        dtype: Of the matrix products.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        batches: Batches,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.model, self.loss, self.batches = model, loss, batches
        self.device, self.dtype = device, dtype
        self.scaler = devices.loss_scaler(device, dtype)
        self.optimizer = _adamw(model, device)
        self.step = 0

    def take_step(self) -> dict[str, Any]:
        """Take one optimizer step, and return its "loss"."""
        rows = torch.from_numpy(self.batches.at(self.step)).to(self.device)  # (B, T + 1)
        with devices.autocast(self.device, self.dtype):
            loss = self.loss(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())
        self.scaler.scale(loss).backward()
        self.update()
        self.step += 1
        return {"loss": loss.item()}

    def update(self) -> None:
        """Clip the gradients and apply them."""
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), OptimizerConfig().gradient_clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad()


def _adamw(model: nn.Module, device: torch.device) -> torch.optim.Optimizer:
    """Return AdamW, which decays matrices alone."""
    config = OptimizerConfig()
    parameters = list(model.parameters())
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        betas=(config.beta1, config.beta2),
        fused=devices.has_fused_optimizers(device),
    )


def make_peer(
    name: str, config: RunConfig, batches: Batches, device: torch.device
) -> tuple[PlainTrainer, nn.Module]:
    """Return the training loop of a peer, and its network with the embeddings and blocks.

    Args:
        name: A key of TRAINING_PEERS.
        config: The settings, of which the model's, the dtype and `compile` count.
        batches: The rows of each step.
        device: Where to train.
    """
    make = {"transformers": _transformers, "nanogpt-like": _plain}[name]
    torch.manual_seed(config.training.seed)
    model, network, loss = make(config.model)
    model.to(device).train()
    if config.training.compile:
        model.compile()
    dtype = devices.select_dtype(config.training.dtype, device)
    return PlainTrainer(model, loss, batches, device, dtype), network


def _plain(config: GPT2Config) -> tuple[nn.Module, nn.Module, Loss]:
    model = PlainGPT(config)
    return model, model, model


def _transformers(config: GPT2Config) -> tuple[nn.Module, nn.Module, Loss]:
    import transformers

    # It trains without a cache of keys and values, as the Trainer of transformers does.
    model: Any = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(**asdict(config), use_cache=False)
    )

    def loss(ids: Tensor, targets: Tensor) -> Tensor:
        return model(ids, labels=targets, shift_labels=targets).loss

    return model, model.transformer, loss
