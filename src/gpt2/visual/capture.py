"""Record in one forward pass what the pictures show.

Dimension key: L blocks, T tokens, C channels, H heads, D channels a head, V vocabulary.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from threading import get_ident
from typing import Any

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from gpt2.errors import InputError, NotFiniteError
from gpt2.model.attention import causal_mask, manual_attention
from gpt2.model.gpt import GPT2Network, evaluating


@dataclass(frozen=True)
class Recording:
    """What a model computed for one text. All tensors are in float32, on the CPU."""

    ids: list[int]  # T token ids
    embeddings: Tensor  # (T, C): of tokens plus positions, where the residual stream begins
    queries: Tensor  # (L, H, T, D)
    keys: Tensor  # (L, H, T, D)
    values: Tensor  # (L, H, T, D)
    scales: list[float]  # of the scores of each block
    attention: Tensor  # (L, T, C): what the attention of each block adds to the residual stream
    mlp: Tensor  # (L, T, C): what the MLP of each block adds
    final: Tensor  # (T, C): the residual stream after the last block, normalized by ln_f
    logits: Tensor  # (T, V), or those of the last tokens alone

    def weights(self, block: int) -> Tensor:  # (H, T, T)
        """Return how much each token attends to itself and each token before it; rows sum to 1."""
        q, k, v = (each[None, block] for each in (self.queries, self.keys, self.values))
        mask = causal_mask(len(self.ids))
        return manual_attention(q, k, v, mask, is_causal=True, scale=self.scales[block])[1][0]

    def require_finite(self) -> None:
        """Make sure that the logits mean something.

        Raises:
            NotFiniteError: The model has diverged.
        """
        if not (self.logits < math.inf).all():  # nor is NaN below it
            raise NotFiniteError(
                "logits must be finite to predict a token, got others: the model has diverged; "
                "take an earlier checkpoint"
            )

    def stream(self) -> Tensor:  # (2 L + 1, T, C)
        """Return the residual stream: at first, and after each attention and each MLP in turn."""
        added = torch.stack([self.attention, self.mlp], dim=1).flatten(0, 1)  # (2 L, T, C)
        return torch.stack(list(accumulate(added, initial=self.embeddings)))


@torch.no_grad()  # not inference_mode, whose tensors a model that trains on could not use
def record(model: GPT2Network, ids: Sequence[int], *, last: int | None = None) -> Recording:
    """Run a model over a text once, and record what it computes.

    Args:
        model: Evaluated without dropout.
        ids: 1 to n_positions token ids.
        last: How many tokens, the last of the text, to compute logits of; all if not given. Over a
            long text of GPT-2 small, all logits take a third of the time.
    Raises:
        InputError: There are no ids, or too many.
    """
    check_length(ids, model.config.n_positions)
    with evaluating(model), _recorded(model, last) as seen:
        logits = model(torch.tensor([list(ids)], device=model.device))
    blocks = range(len(model.h))
    heads = [model.block(i).attn.split_heads(seen[f"projected {i}"]) for i in blocks]
    return Recording(
        ids=list(ids),
        embeddings=seen["embeddings"][0],
        queries=torch.cat([q for q, _, _ in heads]),
        keys=torch.cat([k for _, k, _ in heads]),
        values=torch.cat([v for _, _, v in heads]),
        scales=[model.block(i).attn.scale for i in blocks],
        attention=torch.stack([seen[f"attention {i}"][0] for i in blocks]),
        mlp=torch.stack([seen[f"mlp {i}"][0] for i in blocks]),
        final=seen["final"][0],
        logits=_kept(logits)[0],
    )


def check_length(ids: Sequence[int], n_positions: int) -> None:
    """Make sure that a text fits into the context of a model.

    Raises:
        InputError: There are no ids, or more than `n_positions`.
    """
    if not 1 <= len(ids) <= n_positions:
        raise InputError(
            f"the text must have 1 to {n_positions} tokens, the context of this model, got "
            f"{len(ids)}"
        )


@contextmanager
def _recorded(model: GPT2Network, last: int | None) -> Iterator[dict[str, Tensor]]:
    """Yield what the parts of a model return, by name, while the context lasts.

    Until then, the head reads the `last` tokens alone. Other threads may run the model meanwhile.
    """
    seen: dict[str, Tensor] = {}
    hooks: list[RemovableHandle] = []
    thread = get_ident()

    def keep_output(module: torch.nn.Module, name: str) -> None:
        def hook(module: torch.nn.Module, inputs: Any, output: Tensor) -> None:
            if get_ident() == thread:
                seen[name] = _kept(output)

        hooks.append(module.register_forward_hook(hook))

    keep_output(model.drop, "embeddings")
    keep_output(model.ln_f, "final")
    if last is not None:

        def cut(module: torch.nn.Module, inputs: Any) -> Any:
            return inputs[0][:, -last:] if get_ident() == thread else None

        hooks.append(model.lm_head.register_forward_pre_hook(cut))
    for i in range(len(model.h)):
        block = model.block(i)
        keep_output(block.attn.c_attn, f"projected {i}")
        keep_output(block.attn, f"attention {i}")
        keep_output(block.mlp, f"mlp {i}")
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _kept(tensor: Tensor) -> Tensor:
    return tensor.detach().float().cpu()
