"""Hugging Face's form of a GPT-2: the entries of config.json, and names and layout of the tensors.

Hugging Face puts "transformer." before every tensor name except that of the head, and stores the
four matrices of a block as (inputs, outputs), the transpose of what nn.Linear holds.

A quantized model has "codes" and "scales" in the place of each such "weight", and of that of the
token embeddings: a form of our own, in our layout, (outputs, inputs); see `model.quantized`.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
from gpt2.model.initialization import shapes_alone
from gpt2.model.quantized import GROUP_SIZE, NetworkBits, quantize_network
from llm_tokenizer import Tokenizer, TokenizerError
from llm_tokenizer.files import TOKENIZER_FILES

CONFIG_FILE, GENERATION_FILE = "config.json", "generation_config.json"

# Entries of config.json that change the mathematics, and the one value of each that is implemented.
FIXED: dict[str, Any] = {
    "model_type": "gpt2",
    "add_cross_attention": False,
}
# Entries that do so unless they are empty: removed heads, custom code.
UNSUPPORTED = ("pruned_heads", "auto_map")
QUANTIZATION = "quantization_config"  # another one that does; there are others' and ours
# Names of other models that transformers takes for GPT-2's.
ALIASES = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}

PREFIX = "transformer."  # the oldest files lack it
TRANSPOSED = ("attn.c_attn.weight", "attn.c_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
QUANTIZED = (".codes", ".scales")  # which keep their layout and their dtype
SKIPPED = (".attn.bias", ".attn.masked_bias")  # causal masks that old files carry
EMBEDDINGS, HEAD = "wte.weight", "lm_head.weight"  # equal where the head is tied
HEAD_PREFIX = "lm_head."
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
            raise _unsupported(key, entries[key])
    bits_from_entries(entries)  # raises an error if they are others' quantized weights
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


def bits_from_entries(entries: Mapping[str, Any]) -> NetworkBits | None:
    """Read from the entries of a config.json how the model is quantized, None if it is not.

    Raises:
        ConfigError: It is quantized in another way than ours.
    """
    entry = entries.get(QUANTIZATION)
    if not entry:
        return None
    for bits in (NetworkBits(blocks, embeddings) for blocks in (8, 4) for embeddings in (8, 4)):
        if {QUANTIZATION: entry} == bits_to_entries(bits):
            return bits
    raise _unsupported(QUANTIZATION, entry)


def bits_to_entries(bits: NetworkBits | None) -> dict[str, Any]:
    """Return the entries of config.json about a model's quantization."""
    if bits is None:
        return {}
    # Without "quant_method", so that transformers refuses it: of one that it does not know it
    # warns, and then draws random weights.
    entry = {
        "format": "gpt2-from-scratch",
        "bits": bits.blocks,
        "group_size": GROUP_SIZE[bits.blocks],
        "embedding_bits": bits.embeddings,
        "embedding_group_size": GROUP_SIZE[bits.embeddings],
    }
    return {QUANTIZATION: entry}


def _unsupported(key: str, value: Any) -> ConfigError:
    return ConfigError(
        f"config.json: {key} changes the model in a way that is not implemented here; "
        f"wanted none, got {json.dumps(value):.80}"
    )


def config_to_entries(config: GPT2Config) -> dict[str, Any]:
    """Return the entries of a config.json."""
    return {"architectures": ["GPT2LMHeadModel"], **FIXED, **dataclasses.asdict(config)}


def read_config(directory: Path) -> GPT2Config:
    """Return the shape of the model in a directory, to train it from there.

    Raises:
        CheckpointError: It has no config.json, or a damaged one.
        ConfigError: As in `config_from_entries`, or the model is quantized.
    """
    entries = read_json(directory / CONFIG_FILE)
    config = config_from_entries(entries)
    if bits := bits_from_entries(entries):
        raise ConfigError(
            f"{directory} is quantized to {bits.blocks} bits, and only float weights are trained; "
            "take the model that it was made from"
        )
    return config


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
    return name if name.startswith(HEAD_PREFIX) else PREFIX + name


def stored_tensors(model: GPT2Network) -> Iterator[tuple[str, Tensor]]:
    """Yield Hugging Face's name of each tensor of a model, and the tensor as its files hold it."""
    for name, weight in model.state_dict().items():
        yield stored_name(name), _transposed(name, weight).contiguous()


def read_weights(
    directory: Path,
    config: GPT2Config,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    bits: NetworkBits | None = None,
) -> dict[str, Tensor]:
    """Return the weights of a model directory by our names; at most one tensor is in memory twice.

    Args:
        directory: A Hugging Face model directory.
        config: The shape of its model.
        dtype: Of all float weights; that of the first in the file if None.
        device: Where to put them; the CPU if None.
        bits: Of a quantized model.
    Raises:
        CheckpointError: A file is damaged, or tensors are missing, unexpected or misshapen, which
            are all listed.
    """
    wanted = _stored_forms(config, bits)
    known = wanted
    if config.tie_word_embeddings and EMBEDDINGS in wanted:
        known = wanted | {HEAD: wanted[EMBEDDINGS]}
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
        elif not known[name].fits(tensor):
            wrong.append(f"{stored} must be {known[name]}, got {got}")
            weights[name] = tensor  # so that it does not count as missing, too
        else:
            if (kept := known[name].dtype) is None:
                kept = dtype = dtype or (tensor.dtype if tensor.dtype in DTYPES else torch.float32)
            # A copy, so that the weights outlive the file, laid out and placed as they will stay.
            source = _transposed(name, tensor)
            weights[name] = torch.empty(source.shape, dtype=kept, device=device).copy_(source)
    if config.tie_word_embeddings:
        wrong += _untied(weights)
    missing = [
        f"missing {stored_name(name)} {wanted[name].shape}"
        for name in wanted
        if name not in weights
    ]
    if wrong := missing + wrong:
        wrong[MOST_FAULTS:] = [f"and {len(wrong) - MOST_FAULTS} more"] * (len(wrong) > MOST_FAULTS)
        raise CheckpointError(f"{directory} does not fit its {CONFIG_FILE}: {'; '.join(wrong)}")
    return weights


@dataclass(frozen=True)
class _Form:
    """The shape of a tensor in a file, and its dtype unless any of floating point will do."""

    shape: tuple[int, ...]
    dtype: torch.dtype | None

    def fits(self, tensor: Tensor) -> bool:
        if self.dtype is None:
            return tensor.shape == self.shape and tensor.is_floating_point()
        return tensor.shape == self.shape and tensor.dtype == self.dtype

    def __str__(self) -> str:
        return f"{self.shape} of {self.dtype or 'floating point'}"


def _stored_forms(config: GPT2Config, bits: NetworkBits | None) -> dict[str, _Form]:
    """Return the form of each tensor in a file, by our names.

    From a network of one block and one position: a damaged config.json may ask for thousands.
    """
    with shapes_alone():
        network = GPT2Network(dataclasses.replace(config, n_layer=1, n_positions=1))
        if bits:
            quantize_network(network, *bits)
    forms: dict[str, _Form] = {}
    for name, weight in network.state_dict().items():
        copies = range(config.n_layer if name.startswith(FIRST_BLOCK) else 1)
        dtype = weight.dtype if name.endswith(QUANTIZED) else None
        form = _Form(tuple(_transposed(name, weight).shape), dtype)
        forms |= {name.replace(FIRST_BLOCK, f"h.{number}."): form for number in copies}
    return forms | {POSITIONS: _Form((config.n_positions, config.n_embd), None)}


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
