"""Read from a model what the figures show."""

import torch
from torch import Tensor

from gpt2.errors import InputError
from gpt2.model.gpt import GPT2Network, evaluating


@torch.inference_mode()
def attention_weights(model: GPT2Network, ids: list[int], block: int, head: int) -> Tensor:
    """Return how much each token of a text attends to each token before it.

    Args:
        model: Evaluated without dropout.
        ids: 1 to n_positions token ids.
        block: 0-based index of the block to read.
        head: 0-based index of the head to read.
    Returns:
        Weights (T, T) in float32: row i is where token i looks, and sums to 1.
    Raises:
        InputError: There is no such block or head, or there are no ids or too many.
    """
    config = model.config
    if not 1 <= len(ids) <= config.n_positions:
        raise InputError(
            f"the text must have 1 to {config.n_positions} tokens, the context of this model, "
            f"got {len(ids)}"
        )
    for name, number, count in (("block", block, config.n_layer), ("head", head, config.n_head)):
        if not 0 <= number < count:
            raise InputError(f"{name} must be 0 to {count - 1} in this model, got {number}")
    captured: list[Tensor] = []
    attention = model.block(block).attn
    hook = attention.register_forward_pre_hook(
        lambda module, inputs: captured.append(module.weights(*inputs[:2]))
    )
    try:
        with evaluating(model):
            model(torch.tensor([ids], device=model.device))
    finally:
        hook.remove()
    return captured[0][0, head].float().cpu()
