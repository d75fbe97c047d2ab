"""Hugging Face's form of a GPT-2: the entries of config.json, and names and layout of the tensors.

Hugging Face puts "transformer." before every tensor name except that of the head, and stores the
four matrices of a block as (inputs, outputs), the transpose of what nn.Linear holds.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpt2.config import GPT2Config
from gpt2.config.checks import check
from gpt2.config.toml import typed
from gpt2.errors import CheckpointError, ConfigError
from gpt2.files.tensors import read_json, read_tensors
from gpt2.model.gpt import GPT2Network
from llm_tokenizer import Tokenizer, TokenizerError
from llm_tokenizer.files import TOKENIZER_FILES

CONFIG_FILE, GENERATION_FILE = "config.json", "generation_config.json"

# Entries of config.json that change the mathematics, and the one value of each that is implemented.
FIXED: dict[str, Any] = {
    "model_type": "gpt2",
    "add_cross_attention": False,
}
# Entries that do so unless they are empty: compressed weights, removed heads, custom code.
UNSUPPORTED = ("quantization_config", "pruned_heads", "auto_map")
# Names of other models that transformers takes for GPT-2's.
ALIASES = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}

PREFIX = "transformer."  # the oldest files lack it
TRANSPOSED = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
SKIPPED = (".attn.bias", ".attn.masked_bias")  # causal masks that old files carry
EMBEDDINGS, HEAD = "wte.weight", "lm_head.weight"  # equal where the head is tied
POSITIONS, FIRST_BLOCK = "wpe.weight", "h.0."
DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)  # that a model can run in
MOST_FAULTS = 10  # that an error lists


def config_from_entries(entries: Mapping[str, Any]) -> GPT2Config:
    """Read the entries of a config.json.

    Raises:
        ConfigError: It is not a GPT-2's, or an entry asks for mathematics that this
            implementation does not have.
    """
    for key, supported in FIXED.items():
        if entries.get(key, supported) != supported:
            raise ConfigError(
                f"config.json: {key} must be {json.dumps(supported)}, the GPT-2 that is "
                f"implemented here, got {json.dumps(entries[key])}"
            )
    for key in UNSUPPORTED:
        if entries.get(key):
            raise ConfigError(
                f"config.json: {key} changes the model in a way that is not implemented here; "
                f"wanted none, got {json.dumps(entries[key]):.80}"
            )
    types = {entry.name: entry.type for entry in dataclasses.fields(GPT2Config)}
    values: dict[str, Any] = {}
    for key, value in entries.items():
        name = ALIASES.get(key, key)
        if name in types:
            value = typed(f"config.json: {key}", value, types[name])
            same = name not in values or values[name] == value
            check(same, f"config.json: {key} must be {name}, {values.get(name)}", value)
            values[name] = value
    try:
        return GPT2Config(**values)
    except ConfigError as error:
        raise ConfigError(f"config.json: {error}") from None


def config_to_entries(config: GPT2Config) -> dict[str, Any]:
    """Return the entries of a config.json."""
    return {"architectures": ["GPT2LMHeadModel"], **FIXED, **dataclasses.asdict(config)}


def read_config(directory: Path) -> GPT2Config:
    """Return the shape of the model in a directory.

    Raises:
        CheckpointError: It has no config.json, or a damaged one.
        ConfigError: As in `config_from_entries`.
    """
    return config_from_entries(read_json(directory / CONFIG_FILE))


def named_dtype(entries: Mapping[str, Any]) -> torch.dtype | None:
    """Return the dtype that a config.json names, None if it names none."""
    name = entries.get("dtype") or entries.get("torch_dtype")
    dtype = getattr(torch, name, None) if isinstance(name, str) else None
    return dtype if dtype in DTYPES else None


def read_tokenizer(directory: Path, config: GPT2Config) -> Tokenizer | None:
    """Return the tokenizer of a model directory, GPT-2's if it has none and the size is GPT-2's.

    Raises:
        CheckpointError: It is damaged, or has ids that the model does not.
    """
    if any((directory / file).exists() for file in TOKENIZER_FILES):
        try:
            tokenizer = Tokenizer.load(directory)
        except TokenizerError as error:
            raise CheckpointError(str(error)) from None
        largest = max(tokenizer.vocabulary.token_ids.values())
        if largest >= config.vocab_size:  # special ones may be beyond: ordinary text has none
            raise CheckpointError(
                f"{directory} holds a tokenizer with the id {largest} and a model of "
                f"{config.vocab_size} ids; wanted a model of at least {largest + 1}"
            )
        return tokenizer
    gpt2 = Tokenizer.gpt2()
    return gpt2 if config.vocab_size == gpt2.n_vocab else None


def stored_name(name: str) -> str:
    """Return Hugging Face's name of a tensor.

    >>> stored_name("h.0.attn.c_attn.weight")
    'transformer.h.0.attn.c_attn.weight'
    """
    return name if name == HEAD else PREFIX + name


def stored_tensors(model: GPT2Network) -> Iterator[tuple[str, Tensor]]:
    """Yield Hugging Face's name of each tensor of a model, and the tensor as its files hold it."""
    for name, weight in model.state_dict().items():
        yield stored_name(name), _transposed(name, weight).contiguous()


def read_weights(
    directory: Path,
    config: GPT2Config,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> dict[str, Tensor]:
    """Return the weights of a model directory by our names; at most one tensor is in memory twice.

    Args:
        directory: A Hugging Face model directory.
        config: The shape of its model.
        dtype: Of all weights; that of the first in the file if None.
        device: Where to put them; the CPU if None.
    Raises:
        CheckpointError: A file is damaged, or tensors are missing, unexpected or misshapen, which
            are all listed.
    """
    wanted = _stored_shapes(config)
    known = wanted | {HEAD: wanted[EMBEDDINGS]} if config.tie_word_embeddings else wanted
    weights: dict[str, Tensor] = {}
    wrong = []
    for stored, tensor in read_tensors(directory):
        if stored.endswith(SKIPPED):
            continue
        name = stored.removeprefix(PREFIX)
        got = f"{tuple(tensor.shape)} of {tensor.dtype}"
        if name not in known or stored not in (name, stored_name(name)):
            wrong.append(f"unexpected {stored} {got}")
        elif name in weights:
            wrong.append(f"{stored} twice")
        elif tensor.shape != known[name] or not tensor.is_floating_point():
            wrong.append(f"{stored} must be {known[name]} of floating point, got {got}")
            weights[name] = tensor  # so that it does not count as missing, too
        else:
            dtype = dtype or (tensor.dtype if tensor.dtype in DTYPES else torch.float32)
            # A copy, so that the weights outlive the file, laid out and placed as they will stay.
            source = _transposed(name, tensor)
            weights[name] = torch.empty(source.shape, dtype=dtype, device=device).copy_(source)
    if config.tie_word_embeddings:
        wrong += _untied(weights)
    missing = [
        f"missing {stored_name(name)} {wanted[name]}" for name in wanted if name not in weights
    ]
    if wrong := missing + wrong:
        wrong[MOST_FAULTS:] = [f"and {len(wrong) - MOST_FAULTS} more"] * (len(wrong) > MOST_FAULTS)
        raise CheckpointError(f"{directory} does not fit its {CONFIG_FILE}: {'; '.join(wrong)}")
    return weights


def _stored_shapes(config: GPT2Config) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor in a file, by our names.

    From a network of one block and one position: a damaged config.json may ask for thousands.
    """
    with torch.device("meta"):  # shapes alone
        network = GPT2Network(dataclasses.replace(config, n_layer=1, n_positions=1))
    shapes: dict[str, tuple[int, ...]] = {}
    for name, weight in network.state_dict().items():
        copies = range(config.n_layer if name.startswith(FIRST_BLOCK) else 1)
        shape = tuple(_transposed(name, weight).shape)
        shapes |= {name.replace(FIRST_BLOCK, f"h.{number}."): shape for number in copies}
    return shapes | {POSITIONS: (config.n_positions, config.n_embd)}


def _untied(weights: dict[str, Tensor]) -> list[str]:
    """Drop the head of a tied model, and return a line if it is not the embeddings again."""
    head = weights.pop(HEAD, None)
    if head is None or weights.setdefault(EMBEDDINGS, head).equal(head):
        return []
    return [
        f"{HEAD} must be tied, so equal to {stored_name(EMBEDDINGS)}, and is not; to have it as a "
        "separate head, set tie_word_embeddings to false"
    ]


def _transposed(name: str, tensor: Tensor) -> Tensor:
    """Return a tensor in the other layout, Hugging Face's or ours, by its name."""
    return tensor.t() if name.endswith(TRANSPOSED) else tensor
