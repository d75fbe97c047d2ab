"""Quantized models on disk: what is written, read and refused."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import transformers
from torch import Tensor

from gpt2.config import GPT2Config
from gpt2.errors import CheckpointError, ConfigError
from gpt2.files.gguf import write_gguf
from gpt2.files.hugging_face import bits_from_entries, bits_to_entries, read_config
from gpt2.files.pretrained import GPT2
from gpt2.model.quantized import Bits, NetworkBits, network_bits, quantize_network

NETWORK_BITS = [NetworkBits(blocks, embeddings) for blocks in (8, 4) for embeddings in (8, 4)]


def saved(model: GPT2, directory: Path, *bits: Bits) -> Path:
    """Quantize a model, save it, and return the directory."""
    quantize_network(model, *bits)
    model.save_pretrained(directory)
    return directory


def edit_weights(directory: Path, edit: Callable[[dict[str, Tensor]], Any]) -> None:
    path = directory / "model.safetensors"
    weights = safetensors.torch.load_file(path)
    edit(weights)
    safetensors.torch.save_file(weights, path)


@pytest.mark.parametrize("bits", NETWORK_BITS, ids=str)
@pytest.mark.parametrize("tied", [True, False])
def test_saving_and_loading_a_quantized_model_changes_no_bit(
    tmp_path: Path, model: GPT2, bits: NetworkBits, tied: bool
) -> None:
    config = replace(model.config, tie_word_embeddings=tied)
    model = GPT2(config, tokenizer=model.tokenizer, seed=2).eval()
    loaded = GPT2.from_pretrained(saved(model, tmp_path, *bits))
    assert loaded.config == model.config
    assert network_bits(loaded) == bits
    assert loaded.tokenizer.fingerprint == model.tokenizer.fingerprint
    ours, theirs = model.state_dict(), loaded.state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        assert theirs[name].dtype == tensor.dtype, name
        assert torch.equal(theirs[name], tensor), name
    ids = torch.randint(0, 300, (2, 24))
    with torch.no_grad():
        assert torch.equal(loaded(ids), model(ids))
    loaded.save_pretrained(tmp_path / "again")
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / file).read_bytes()


def test_the_file_holds_codes_and_scales_in_our_layout(tmp_path: Path, model: GPT2) -> None:
    saved(model, tmp_path, 4)  # and the embeddings with 8 bits
    stored = safetensors.torch.load_file(tmp_path / "model.safetensors")
    forms = {name: (tuple(t.shape), t.dtype) for name, t in stored.items()}
    assert forms["transformer.wte.codes"] == ((300, 20), torch.int8)
    assert forms["transformer.wte.scales"] == ((300, 1), torch.bfloat16)
    assert forms["transformer.h.0.attn.c_attn.codes"] == ((60, 10), torch.uint8)
    assert forms["transformer.h.0.attn.c_attn.bias"] == ((60,), torch.float32)
    assert forms["transformer.h.2.mlp.c_proj.codes"] == ((20, 40), torch.uint8)
    assert forms["transformer.h.2.mlp.c_proj.scales"] == ((20, 3), torch.bfloat16)  # 80 = 2.5 * 32
    assert forms["transformer.wpe.weight"] == ((24, 20), torch.float32)
    entry = json.loads((tmp_path / "config.json").read_text())["quantization_config"]
    assert entry["bits"] == 4
    assert entry["embedding_bits"] == 8


@pytest.mark.parametrize(
    "opener", [transformers.AutoModelForCausalLM, transformers.GPT2LMHeadModel]
)
def test_transformers_refuses_a_quantized_model(tmp_path: Path, model: GPT2, opener: Any) -> None:
    with pytest.raises(ValueError, match="quantization config"):
        opener.from_pretrained(saved(model, tmp_path, 8))


LOAD = """
import pathlib, sys
from gpt2 import GPT2

def peak():
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

GPT2.from_pretrained(sys.argv[1])  # what is loaded once, such as libraries
before = peak()
model = GPT2.from_pretrained(sys.argv[2])
print((peak() - before) / (pathlib.Path(sys.argv[2]) / "model.safetensors").stat().st_size)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
@pytest.mark.parametrize("bits", [8, 4])
def test_opening_takes_little_more_memory_than_the_file(
    tmp_path: Path, model: GPT2, bits: Bits
) -> None:
    large = GPT2(GPT2Config(vocab_size=1000, n_layer=8, n_positions=64))
    saved(large, tmp_path / "large", bits)  # 33 or 59 MB; 230 MB in float32
    saved(GPT2(model.config), tmp_path / "small", bits)
    command = [sys.executable, "-c", LOAD, str(tmp_path / "small"), str(tmp_path / "large")]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 0.7 < float(ran.stdout) < 1.3


def test_all_tensors_of_a_quantized_model_that_do_not_fit_are_listed(
    tmp_path: Path, model: GPT2
) -> None:
    saved(model, tmp_path, 4)

    def damage(weights: dict[str, Tensor]) -> None:
        del weights["transformer.h.1.attn.c_attn.scales"]
        weights["transformer.wte.weight"] = torch.zeros(300, 20)
        weights["transformer.wte.codes"] = torch.zeros(300, 20)
        weights["transformer.h.0.mlp.c_fc.codes"] = torch.zeros(80, 20, dtype=torch.uint8)
        weights["transformer.h.0.mlp.c_fc.scales"] = torch.zeros(80, 1)
        weights["transformer.ln_f.bias"] = torch.zeros(20, dtype=torch.int8)

    edit_weights(tmp_path, damage)
    with pytest.raises(CheckpointError) as raised:
        GPT2.from_pretrained(tmp_path)
    for told in (
        "missing transformer.h.1.attn.c_attn.scales (60, 1)",
        "unexpected transformer.wte.weight (300, 20) of torch.float32",
        "transformer.wte.codes must be (300, 20) of torch.int8, got (300, 20) of torch.float32",
        "mlp.c_fc.codes must be (80, 10) of torch.uint8, got (80, 20) of torch.uint8",
        "mlp.c_fc.scales must be (80, 1) of torch.bfloat16, got (80, 1) of torch.float32",
        "transformer.ln_f.bias must be (20,) of floating point, got (20,) of torch.int8",
    ):
        assert told in str(raised.value)


def test_a_file_of_another_form_than_config_json_names_is_refused(
    tmp_path: Path, model: GPT2
) -> None:
    model.save_pretrained(tmp_path / "float")
    saved(model, tmp_path / "int8", 8)
    (tmp_path / "float/config.json").rename(tmp_path / "config.json")
    (tmp_path / "int8/config.json").rename(tmp_path / "float/config.json")
    (tmp_path / "config.json").rename(tmp_path / "int8/config.json")
    for directory in ("float", "int8"):
        with pytest.raises(CheckpointError, match="does not fit its config.json: missing"):
            GPT2.from_pretrained(tmp_path / directory)


@pytest.mark.parametrize("kept", [0, 100, 0.5, -1])
def test_a_quantized_file_cut_anywhere_is_named(tmp_path: Path, model: GPT2, kept: float) -> None:
    path = saved(model, tmp_path, 8) / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(CheckpointError, match="model.safetensors is damaged"):
        GPT2.from_pretrained(tmp_path)


@pytest.mark.parametrize("bits", NETWORK_BITS, ids=str)
def test_config_json_names_the_bits(bits: NetworkBits) -> None:
    assert bits_from_entries(json.loads(json.dumps(bits_to_entries(bits)))) == bits


@pytest.mark.parametrize("empty", [None, {}])
def test_an_empty_quantization_is_none(empty: object) -> None:
    assert bits_from_entries({"quantization_config": empty}) is None
    assert bits_from_entries({}) is None
    assert bits_to_entries(None) == {}


@pytest.mark.parametrize(
    "entry",
    [
        {"quant_method": "gptq", "bits": 4},
        {"bits": 8},
        {"bits": 2},
        {"group_size": 64},
        {"format": "another"},
        {"more": 1},
        "int8",
        8,
    ],
    ids=str,
)
def test_another_quantization_than_ours_is_refused(
    tmp_path: Path, model: GPT2, entry: object
) -> None:
    path = saved(model, tmp_path, 8) / "config.json"
    config = json.loads(path.read_text())
    ours = config["quantization_config"]
    changed = ours | entry if isinstance(entry, dict) and "quant_method" not in entry else entry
    if changed == ours:
        del changed["format"]
    path.write_text(json.dumps(config | {"quantization_config": changed}))
    with pytest.raises(ConfigError, match="quantization_config changes the model in a way"):
        GPT2.from_pretrained(tmp_path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_quantized_model_opens_in_float32_alone(
    tmp_path: Path, model: GPT2, dtype: torch.dtype
) -> None:
    saved(model, tmp_path, 8)
    told = rf"is quantized to 8 bits and runs in float32 alone, got the dtype {str(dtype)[6:]}"
    with pytest.raises(ConfigError, match=told):
        GPT2.from_pretrained(tmp_path, dtype=dtype)
    assert GPT2.from_pretrained(tmp_path, dtype=torch.float32).quantization == "int8"


def test_a_quantized_model_is_not_trained(tmp_path: Path, model: GPT2) -> None:
    with pytest.raises(ConfigError, match="is quantized to 4 bits, and only float weights are"):
        read_config(saved(model, tmp_path, 4))


def test_a_quantized_model_is_no_gguf(tmp_path: Path, model: GPT2) -> None:
    quantize_network(model, 8)
    with pytest.raises(ConfigError, match="GGUF is written from float weights, and this model is"):
        write_gguf(model, tmp_path / "model.gguf")
    assert not (tmp_path / "model.gguf").exists()
