import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
import transformers
from torch import Tensor

from gpt2.config import GPT2Config
from gpt2.errors import CheckpointError, ConfigError
from gpt2.pretrained import GPT2
from llm_tokenizer import Tokenizer

SHAPES = [
    {"vocab_size": 97, "n_positions": 16, "n_embd": 24, "n_layer": 1, "n_head": 3},
    {"vocab_size": 300, "n_positions": 40, "n_embd": 20, "n_layer": 3, "n_head": 5, "n_inner": 17},
    {"vocab_size": 50257, "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 1},
]


def hugging_face(shape: dict[str, int], directory: Path) -> transformers.GPT2LMHeadModel:
    """Return transformers' GPT-2 with random weights of a size to tell apart, saved."""
    torch.manual_seed(0)
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config(**shape, **ends)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(directory)
    return model


def some_ids(shape: dict[str, int]) -> Tensor:
    return torch.randint(0, shape["vocab_size"], (3, shape["n_positions"]))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("backend", ["manual", "flash"])
def test_logits_equal_those_of_transformers(
    tmp_path: Path, shape: dict[str, int], backend: str
) -> None:
    theirs = hugging_face(shape, tmp_path)
    ours = GPT2.from_pretrained(tmp_path)
    ours.set_attention(backend)
    ids = some_ids(shape)
    with torch.no_grad():
        expected = theirs(ids).logits
        error = (ours(ids) - expected).abs().max() / expected.abs().max()
    assert error.item() < 1e-5


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_transformers_opens_what_we_save_and_agrees(tmp_path: Path, shape: dict[str, int]) -> None:
    ours = GPT2(GPT2Config(**shape), seed=2).eval()
    ours.save_pretrained(tmp_path)
    theirs, info = transformers.GPT2LMHeadModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    ids = some_ids(shape)
    with torch.no_grad():
        torch.testing.assert_close(theirs.eval()(ids).logits, ours(ids), rtol=0, atol=1e-5)


def test_saving_and_loading_changes_no_bit(tmp_path: Path, model: GPT2) -> None:
    model.save_pretrained(tmp_path)
    loaded = GPT2.from_pretrained(tmp_path)
    assert loaded.config == model.config
    assert loaded.tokenizer.fingerprint == model.tokenizer.fingerprint
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_weights_keep_the_dtype_of_the_file_unless_another_is_asked_for(
    tmp_path: Path, model: GPT2
) -> None:
    model.to(torch.bfloat16).save_pretrained(tmp_path)
    assert GPT2.from_pretrained(tmp_path).wte.weight.dtype == torch.bfloat16
    assert GPT2.from_pretrained(tmp_path, dtype=torch.float32).wte.weight.dtype == torch.float32


def test_old_files_load_without_prefix_and_with_masks_and_head(tmp_path: Path, model: GPT2) -> None:
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = {
        name.removeprefix("transformer."): tensor
        for name, tensor in safetensors.torch.load_file(path).items()
    }
    weights["h.0.attn.bias"] = torch.ones(1, 1, 24, 24)
    weights["h.0.attn.masked_bias"] = torch.tensor(-1e4)
    weights["lm_head.weight"] = weights["wte.weight"].clone()
    safetensors.torch.save_file(weights, path)

    loaded = GPT2.from_pretrained(tmp_path)

    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_all_tensors_that_do_not_fit_are_listed_at_once(tmp_path: Path, model: GPT2) -> None:
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = safetensors.torch.load_file(path)
    del weights["transformer.ln_f.bias"]
    weights["transformer.extra"] = torch.zeros(1)
    weights["transformer.wpe.weight"] = torch.zeros(3, 20)
    safetensors.torch.save_file(weights, path)
    with pytest.raises(CheckpointError) as raised:
        GPT2.from_pretrained(tmp_path)
    for told in (
        "missing ln_f.bias",
        "unexpected extra",
        "wpe.weight must be (24, 20) of floating point, got (3, 20)",
    ):
        assert told in str(raised.value)


@pytest.mark.parametrize(
    ("name", "tensor", "told"),
    [
        ("lm_head.weight", torch.zeros(300, 20), "lm_head.weight must be tied"),
        ("wpe.weight", torch.zeros(24, 20), "wpe.weight twice"),
        (
            "transformer.ln_f.bias",
            torch.zeros(20, dtype=torch.int8),
            "ln_f.bias must be .* floating",
        ),
    ],
)
def test_a_tensor_that_would_give_other_logits_is_refused(
    tmp_path: Path, model: GPT2, name: str, tensor: Tensor, told: str
) -> None:
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = safetensors.torch.load_file(path) | {name: tensor}
    safetensors.torch.save_file(weights, path)
    with pytest.raises(CheckpointError, match=told):
        GPT2.from_pretrained(tmp_path)


@pytest.mark.parametrize("file", ["pytorch_model.bin", "model.safetensors.index.json"])
def test_weights_in_another_layout_are_named(tmp_path: Path, model: GPT2, file: str) -> None:
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / file)
    with pytest.raises(CheckpointError, match=f"this one has {file}, which are not read yet"):
        GPT2.from_pretrained(tmp_path)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"damaged"])
def test_a_missing_or_damaged_file_is_named(
    tmp_path: Path, model: GPT2, file: str, content: bytes | None
) -> None:
    model.save_pretrained(tmp_path)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=file):
        GPT2.from_pretrained(tmp_path)


def test_a_tokenizer_larger_than_the_model_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(ConfigError, match="vocab_size must be at least the tokenizer's 300, got 8"):
        GPT2(GPT2Config(vocab_size=8, n_embd=4, n_head=2, n_layer=1), tokenizer=tokenizer)


def test_a_released_model_comes_with_the_released_vocabulary(tmp_path: Path) -> None:
    hugging_face(SHAPES[2], tmp_path)
    assert GPT2.from_pretrained(tmp_path).tokenizer.encode("Hello, world") == [15496, 11, 995]


def test_a_name_without_a_network_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CheckpointError) as raised:
        GPT2.from_pretrained("gpt2")
    assert "'openai-community/gpt2' could not be downloaded" in str(raised.value)
    assert "give a local model directory" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_name_that_is_no_name_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="wanted a local directory or a name on the Hugging"):
        GPT2.from_pretrained(str(tmp_path / "missing"))


def test_config_json_names_the_end_of_text(tmp_path: Path, model: GPT2) -> None:
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["eos_token_id"] == 299
