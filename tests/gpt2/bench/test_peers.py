from pathlib import Path

import gguf
import numpy as np
import pytest

from gpt2.bench.peers import PEERS, is_installed, quantize_gguf, quantized, run_process
from gpt2.config import GPT2Config
from gpt2.errors import ConfigError
from gpt2.files.gguf import write_gguf
from gpt2.files.pretrained import GPT2
from llm_tokenizer import Tokenizer

Q8_0, Q4_0, Q6_K = (gguf.GGMLQuantizationType[name] for name in ("Q8_0", "Q4_0", "Q6_K"))


def kinds_of(file: Path) -> dict[str, str]:
    return {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(file).tensors}


@pytest.fixture
def f32(tmp_path: Path, tokenizer: Tokenizer) -> Path:
    config = GPT2Config(vocab_size=300, n_positions=24, n_embd=256, n_layer=1, n_head=4, n_inner=96)
    write_gguf(GPT2(config, tokenizer=tokenizer, seed=0), tmp_path / "f32.gguf")
    return tmp_path / "f32.gguf"


@pytest.mark.parametrize("kind", [Q8_0, Q4_0])
def test_a_matrix_is_quantized_as_the_gguf_package_does(kind: gguf.GGMLQuantizationType) -> None:
    weight = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    np.testing.assert_array_equal(quantized(weight, kind), gguf.quantize(weight, kind))


def test_q6_k_is_within_a_step_of_the_weights() -> None:
    weight = np.random.default_rng(0).normal(size=(3, 256)).astype(np.float32)
    restored = gguf.dequantize(quantized(weight, Q6_K), Q6_K)
    np.testing.assert_allclose(restored, weight, atol=np.abs(weight).max() / 16)


def test_q4_0_keeps_a_tied_head_in_q6_k_as_llama_quantize_does(f32: Path) -> None:
    quantize_gguf(f32, f32.with_name("q4_0.gguf"), "q4_0")
    kinds = kinds_of(f32.with_name("q4_0.gguf"))
    assert kinds["token_embd.weight"] == "Q6_K"
    assert kinds["position_embd.weight"] == kinds["blk.0.attn_norm.weight"] == "F32"
    assert {kinds[f"blk.0.{name}.weight"] for name in ("attn_qkv", "ffn_up", "ffn_down")} == {
        "Q4_0"
    }


def test_settings_and_vocabulary_are_copied(f32: Path) -> None:
    quantize_gguf(f32, f32.with_name("q8_0.gguf"), "q8_0")
    before, after = (gguf.GGUFReader(f32.with_name(f"{name}.gguf")) for name in ("f32", "q8_0"))
    for name, field in before.fields.items():
        if not name.startswith("GGUF."):
            assert after.fields[name].contents() == field.contents(), name


def test_rows_that_are_no_whole_number_of_blocks_stay_in_float32(
    model: GPT2, tmp_path: Path
) -> None:
    write_gguf(model, tmp_path / "f32.gguf")  # 20 channels; a block has 32
    quantize_gguf(tmp_path / "f32.gguf", tmp_path / "q8_0.gguf", "q8_0")
    assert kinds_of(tmp_path / "q8_0.gguf")["blk.0.attn_qkv.weight"] == "F32"


def test_a_peer_that_is_missing_is_named_with_the_packages_that_it_lacks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert is_installed("nothing needed", ())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not is_installed("ctranslate2", PEERS["ctranslate2"].packages)
    assert capsys.readouterr().err.endswith("pip install ctranslate2 transformers\n")


def test_a_program_that_fails_is_told_by_its_last_line() -> None:
    import sys

    with pytest.raises(ConfigError, match="^ValueError: no$"):
        run_process([sys.executable, "-c", "print('so far'); raise ValueError('no')"])
    assert run_process([sys.executable, "-c", "print('noise\\n7\\n')"]) == "7"
