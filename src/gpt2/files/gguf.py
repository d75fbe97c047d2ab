"""GGUF: the one file, weights and vocabulary together, that llama.cpp runs a model from.

Source: the GGUF specification, docs/gguf.md in the ggml repository.
"""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from gpt2.errors import CheckpointError, ConfigError
from gpt2.files.hugging_face import stored_name
from gpt2.files.pretrained import GPT2
from gpt2.model.gpt import ACTIVATIONS, gelu_tanh
from llm_tokenizer import Tokenizer
from llm_tokenizer.atomic import written_atomically
from llm_tokenizer.vocabulary import show_bytes

if TYPE_CHECKING:
    import gguf

# Settings that llama.cpp's GPT-2 does not read, and what it takes them to be.
ASSUMED = {
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
}


def write_gguf(model: GPT2, path: Path) -> None:
    """Write a model as GGUF, atomically.

    Args:
        model: With its tokenizer. Matrices keep their dtype; vectors and position embeddings are
            written in float32, as llama.cpp wants them.
        path: File to write.
    Raises:
        ConfigError: llama.cpp has no such GPT-2, the model is quantized, or the package gguf is
            not installed.
        CheckpointError: It cannot be written, as on a full disk.
        InputError: The model has no tokenizer.
    """
    try:
        import gguf
    except ImportError:
        raise ConfigError("GGUF needs the package gguf: pip install gguf") from None
    tokenizer = model.require_tokenizer()
    _check(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with written_atomically(path) as partial:
            writer = gguf.GGUFWriter(partial, gguf.MODEL_ARCH_NAMES[gguf.MODEL_ARCH.GPT2])
            _add_settings(writer, model)
            _add_vocabulary(writer, tokenizer, model)
            _add_tensors(writer, model)
            with closing(writer):
                writer.write_header_to_file()
                writer.write_kv_data_to_file()
                writer.write_tensors_to_file()
    except OSError as error:  # on a full disk numpy's message holds only a count
        reason = error.strerror or f"{error}; is the disk full?"
        raise CheckpointError(f"could not write {path}: {reason}") from None


def _add_tensors(writer: "gguf.GGUFWriter", model: GPT2) -> None:
    import gguf

    kinds = {
        torch.bfloat16: gguf.GGMLQuantizationType.BF16,
        torch.float16: gguf.GGMLQuantizationType.F16,
    }
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GPT2, model.config.n_layer)
    for name, weight in model.state_dict().items():
        gguf_name = names.get_name(stored_name(name), try_suffixes=(".weight", ".bias"))
        assert gguf_name is not None, name
        full = weight.ndim == 1 or name == "wpe.weight"
        kind = kinds.get(torch.float32 if full else weight.dtype, gguf.GGMLQuantizationType.F32)
        content = gguf.quantize(weight.to("cpu", torch.float32).numpy(), kind)
        writer.add_tensor(gguf_name, content, raw_dtype=kind)


def _check(model: GPT2) -> None:
    config = model.config
    if model.quantization:
        raise ConfigError(
            f"GGUF is written from float weights, and this model is quantized to "
            f"{model.quantization}; take the model that it was made from"
        )
    for name, assumed in ASSUMED.items():
        if (value := getattr(config, name)) != assumed:
            raise ConfigError(f"llama.cpp's GPT-2 has {name} = {assumed}, this model has {value}")
    if model.tokenizer and not model.tokenizer.vocabulary.merges:
        raise ConfigError("llama.cpp opens no vocabulary without merges, and this model's has none")
    if ACTIVATIONS[config.activation_function] is not gelu_tanh:
        raise ConfigError(
            f"llama.cpp's GPT-2 has activation_function = gelu_new, this model has "
            f"{config.activation_function}"
        )


def _add_settings(writer: "gguf.GGUFWriter", model: GPT2) -> None:
    config = model.config
    writer.add_name("GPT-2")
    writer.add_block_count(config.n_layer)
    writer.add_context_length(config.n_positions)
    writer.add_embedding_length(config.n_embd)
    writer.add_feed_forward_length(config.inner)
    writer.add_head_count(config.n_head)
    writer.add_layer_norm_eps(config.layer_norm_epsilon)


def _add_vocabulary(writer: "gguf.GGUFWriter", tokenizer: Tokenizer, model: GPT2) -> None:
    """Add every id of the model; one that the tokenizer has no token for is marked as unused."""
    import gguf

    vocabulary = tokenizer.vocabulary
    tokens = [f"[unused{i}]" for i in range(model.config.vocab_size)]
    kinds = [gguf.TokenType.UNUSED] * len(tokens)
    for token, i in vocabulary.token_ids.items():
        tokens[i], kinds[i] = show_bytes(token), gguf.TokenType.NORMAL
    for text, i in vocabulary.special_tokens.items():
        if i < len(tokens):
            tokens[i], kinds[i] = text, gguf.TokenType.CONTROL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(map(show_bytes, pair)) for pair in vocabulary.merges])
    begin = model.special_ids.get("bos_token_id")
    if type(begin) is int and begin in range(len(tokens)):
        writer.add_bos_token_id(begin)
    if model.end_ids:  # the format has room for one
        writer.add_eos_token_id(min(model.end_ids))
    writer.add_add_bos_token(False)
