"""GGUF files, run by llama.cpp."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import xllamacpp

from gpt2.config import GenerationConfig, GPT2Config
from gpt2.errors import ConfigError, InputError
from gpt2.files.gguf import write_gguf
from gpt2.files.pretrained import GPT2
from gpt2.generation.generate import generate
from llm_tokenizer import Tokenizer

CONFIG = GPT2Config(
    vocab_size=50300, n_positions=128, n_embd=160, n_layer=3, n_head=5, n_inner=224
)  # more ids than the vocabulary has, and an MLP that is not 4 times as wide
PROMPTS = ["Hello, I'm a language model,", "def f(x):\n    ", "Grüße aus 日本 🙂", "1234567 's"]


def large_weights(config: GPT2Config) -> GPT2:
    """Return a model whose likeliest token is clear, so that no rounding changes it."""
    model = GPT2(config, tokenizer=Tokenizer.gpt2(), seed=3).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return model


def continued_by_llama_cpp(file: Path, prompts: list[str]) -> list[list[int]]:
    params = xllamacpp.CommonParams()
    params.model.path = str(file)
    params.n_ctx, params.n_parallel, params.n_gpu_layers = CONFIG.n_positions, 1, 0
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.verbosity, params.cpuparams.n_threads = -1, 2
    server = xllamacpp.Server(params)
    ids = []
    for prompt in prompts:
        asked = {"prompt": prompt, "n_predict": 40, "temperature": 0, "n_probs": 1}
        answer = server.handle_completions(asked | {"ignore_eos": True})
        answer = json.loads(answer) if isinstance(answer, str) else answer
        ids.append([token["id"] for token in answer["choices"][0]["logprobs"]["content"]])
    return ids


@pytest.mark.parametrize("tied", [True, False])
def test_llama_cpp_continues_greedily_with_the_same_tokens(tmp_path: Path, tied: bool) -> None:
    model = large_weights(replace(CONFIG, tie_word_embeddings=tied))
    write_gguf(model, tmp_path / "model.gguf")
    greedy = GenerationConfig(max_new_tokens=40, temperature=0)
    expected = [sample.ids for sample in generate(model, PROMPTS, greedy)]
    assert continued_by_llama_cpp(tmp_path / "model.gguf", PROMPTS) == expected


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_llama_cpp_opens_half_precision(tmp_path: Path, dtype: torch.dtype) -> None:
    model = large_weights(CONFIG).to(dtype)
    write_gguf(model, tmp_path / "model.gguf")
    assert (tmp_path / "model.gguf").stat().st_size < 2.2 * model.num_parameters() + 5e6
    one = GenerationConfig(max_new_tokens=1, temperature=0)
    expected = [sample.ids for sample in generate(model.float(), PROMPTS, one)]
    got = continued_by_llama_cpp(tmp_path / "model.gguf", PROMPTS)
    assert [ids[:1] for ids in got] == expected


@pytest.mark.parametrize(
    "setting",
    [
        {"activation_function": "relu"},
        {"scale_attn_weights": False},
        {"scale_attn_by_inverse_layer_idx": True},
    ],
)
def test_mathematics_that_llama_cpp_lacks_is_refused(
    tmp_path: Path, setting: dict[str, object], tokenizer: Tokenizer
) -> None:
    model = GPT2(GPT2Config(vocab_size=300, n_embd=8, n_head=2, **setting), tokenizer=tokenizer)
    with pytest.raises(ConfigError, match=f"llama.cpp's GPT-2 has {next(iter(setting))}"):
        write_gguf(model, tmp_path / "model.gguf")
    assert not list(tmp_path.iterdir())


def test_a_model_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no tokenizer"):
        write_gguf(GPT2(GPT2Config(vocab_size=9, n_embd=8, n_head=2)), tmp_path / "model.gguf")


def test_the_package_that_is_missing_is_named(
    tmp_path: Path, model: GPT2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ConfigError, match="pip install gguf"):
        write_gguf(model, tmp_path / "model.gguf")


def test_llama_cpp_opens_a_vocabulary_with_gaps(gapped_model: GPT2, tmp_path: Path) -> None:
    with torch.no_grad():
        for parameter in gapped_model.parameters():
            parameter.mul_(4.0)
        gapped_model.wte.weight[gapped_model.unused_ids] = 0.0  # llama.cpp may draw them
    write_gguf(gapped_model, tmp_path / "model.gguf")
    greedy = GenerationConfig(max_new_tokens=1, temperature=0)
    expected = [sample.ids for sample in generate(gapped_model, ["Permission"], greedy)]
    assert continued_by_llama_cpp(tmp_path / "model.gguf", ["Permission"])[0][:1] == expected[0]
