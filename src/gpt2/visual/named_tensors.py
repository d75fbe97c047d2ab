"""Which tensors does a model have, by the names and in the layout of the released files?"""

from collections.abc import Iterator
from difflib import get_close_matches

import numpy as np
from torch import Tensor, nn

from gpt2.errors import InputError
from gpt2.files.hugging_face import EMBEDDINGS, HEAD, PREFIX, TRANSPOSED
from gpt2.model.gpt import GPT2Network
from gpt2.model.quantized import QuantizedMatrix

# Of the queries, keys and values of the first block: the weights that are shown first.
FIRST_C_ATTN = "h.0.attn.c_attn.weight"
NEAR = 3  # names that an error offers


def tensor_shapes(model: GPT2Network) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor by its name; the matrices of a block are inputs x outputs.

    A quantized matrix has the name and shape of the one that it was made from.
    """
    return {
        name: shape[::-1] if name.endswith(TRANSPOSED) else shape for name, shape in _shapes(model)
    }


def read_tensor(model: GPT2Network, name: str) -> np.ndarray:
    """Return a tensor, by its name as `tensor_shapes` has it, in float32.

    A matrix of floats is not copied, a quantized one is dequantized.
    """
    parent, _, last = name.rpartition(".")
    tensor = getattr(model.get_submodule(parent), last)
    assert isinstance(tensor, Tensor)
    values: np.ndarray = tensor.detach().float().cpu().numpy()
    return values.T if name.endswith(TRANSPOSED) else values


def full_name(model: GPT2Network, asked: str) -> str:
    """Return the name of a tensor that is asked for, as `tensor_shapes` has it.

    "transformer." before it and ".weight" after it may be there or not. A tied head's is that of
    the token embeddings.

    Raises:
        InputError: There is no such tensor.
    """
    names = list(tensor_shapes(model))
    short = asked.removeprefix(PREFIX)
    for name in (short, f"{short}.weight"):
        if name in names:
            return name
        if name == HEAD:
            return EMBEDDINGS
    near = [name for name in names if short and short in name][:NEAR]
    long = short if short.endswith((".weight", ".bias")) else f"{short}.weight"
    near = near or get_close_matches(long, names, NEAR, cutoff=0.6)
    offered = f"; near it: {', '.join(near)}" if near else ""
    raise InputError(
        f"the model has no tensor {asked!r}{offered}; gpt2 plot weights --list shows all"
    )


def _shapes(model: GPT2Network) -> Iterator[tuple[str, tuple[int, ...]]]:
    for path, module in model.named_modules():
        if isinstance(module, QuantizedMatrix):
            yield f"{path}.weight", (module.rows, module.columns)
        for name, weight in nn.Module.named_parameters(module, recurse=False):
            yield f"{path}.{name}", tuple(weight.shape)
