"""Both runners compute the network's logits, whatever the pieces, the precision and the model."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numba import njit
from torch import Tensor

from gpt2.config import GPT2Config
from gpt2.errors import ConfigError
from gpt2.files.pretrained import GPT2
from gpt2.generation.cpu.instructions import (
    LANES,
    MOST_ROWS,
    largest,
    largest_magnitude,
    total,
    total_of_squares,
)
from gpt2.generation.cpu.runner import CpuRunner
from gpt2.generation.runner import Piece, Runner
from gpt2.generation.runners import make_runner
from gpt2.generation.torch_runner import TorchRunner
from gpt2.model.quantized import quantize_network

SHAPE = {"vocab_size": 307, "n_positions": 70, "n_embd": 60, "n_layer": 3, "n_head": 5}
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def make(**settings: object) -> GPT2:
    config = GPT2Config(**{**SHAPE, "initializer_range": 0.1, **settings})  # type: ignore[arg-type]
    return GPT2(config, seed=3).eval()


def some_ids(count: int, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 307, (count,), generator=generator).tolist()


@torch.inference_mode()
def expected(model: GPT2, ids: Sequence[int]) -> Tensor:
    """Return the network's logits in float64, (T, V)."""
    double = GPT2(model.config).double()
    double.load_state_dict({name: value.double() for name, value in model.state_dict().items()})
    return double.eval()(torch.tensor([ids]))[0].float()


def read(runner: Runner, ids: list[int], pieces: Sequence[int]) -> Tensor:
    """Return the logits after all tokens, read in pieces of these lengths, (T, V)."""
    cache = runner.new_cache(len(ids))
    found, first = [], 0
    for length in pieces:
        piece = Piece(cache, ids[first : first + length], wanted=length)
        found.append(runner.run([piece]).values.clone())
        first += length
    assert cache.length == len(ids)
    return torch.cat(found)


RUNNERS: dict[str, Callable[[GPT2], Runner]] = {
    "compiled": lambda model: CpuRunner(model, "float32", threads=2),
    "flash": lambda model: TorchRunner(model, slots=4),
    "manual": lambda model: TorchRunner(with_manual_attention(model), slots=4),
}


def with_manual_attention(model: GPT2) -> GPT2:
    model.set_attention("manual")
    return model


@pytest.fixture(params=RUNNERS)
def make_one(request: pytest.FixtureRequest) -> Callable[[GPT2], Runner]:
    return RUNNERS[request.param]


@pytest.mark.parametrize("pieces", [[70], [1] * 70, [1, 33, 1, 35], [69, 1]], ids=str)
def test_cached_logits_are_those_of_the_network(
    make_one: Callable[[GPT2], Runner], pieces: list[int]
) -> None:
    model = make()
    want = expected(model, some_ids(70))
    torch.testing.assert_close(read(make_one(model), some_ids(70), pieces), want, **CLOSE)


@pytest.mark.parametrize(
    "settings",
    [
        {"activation_function": "gelu"},
        {"activation_function": "relu"},
        {"activation_function": "silu"},
        {"n_inner": 100},
        {"tie_word_embeddings": False},
        {"scale_attn_weights": False},
        {"scale_attn_by_inverse_layer_idx": True},
        {"reorder_and_upcast_attn": True},
        {"layer_norm_epsilon": 0.1},
        {"n_embd": 128, "n_head": 1},
        {"n_embd": 96, "n_head": 96},
        {"vocab_size": 5000},
    ],
    ids=str,
)
def test_every_setting_of_the_network_is_computed(
    make_one: Callable[[GPT2], Runner], settings: dict[str, object]
) -> None:
    model = make(**settings)
    for vector in (p for p in model.parameters() if p.ndim == 1):
        torch.nn.init.normal_(vector, 0.5, 0.5, generator=torch.Generator().manual_seed(1))
    want = expected(model, some_ids(20))
    found = read(make_one(model), some_ids(20), [11, 1, 8])
    torch.testing.assert_close(found, want, atol=2e-5, rtol=2e-5)


def test_texts_of_different_lengths_have_the_logits_they_have_alone(
    make_one: Callable[[GPT2], Runner],
) -> None:
    model = make()
    runner = make_one(model)
    texts = [some_ids(length, seed=length) for length in (40, 3, 17, 1)]
    caches = [runner.new_cache(70) for _ in texts]
    runner.run([Piece(c, ids[:-1] or ids, 0) for c, ids in zip(caches[:3], texts, strict=False)])
    last = [Piece(c, [ids[-1]]) for c, ids in zip(caches, texts, strict=True)]
    logits = runner.run(last)
    for row, ids in enumerate(texts):
        want = expected(model, ids)[-1]
        torch.testing.assert_close(logits.values[row], want, **CLOSE)
        assert logits.likeliest[row] == want.argmax()
        assert logits.largest[row] == pytest.approx(want.max().item(), abs=1e-5)
        assert logits.log_normalizers[row] == pytest.approx(want.logsumexp(0).item(), abs=1e-5)


def test_a_cache_may_forget_its_last_tokens_and_take_over_another_ones_first(
    make_one: Callable[[GPT2], Runner],
) -> None:
    model = make()
    runner = make_one(model)
    first, second = some_ids(60), [*some_ids(40)[:37], 5, 6, 7]
    cache, other = runner.new_cache(70), runner.new_cache(45)
    runner.run([Piece(cache, first)])
    other.copy_from(cache, 37)
    assert other.length == 37
    logits = runner.run([Piece(other, second[37:])]).values.clone()
    torch.testing.assert_close(logits[0], expected(model, second)[-1], **CLOSE)
    cache.length = 37
    logits = runner.run([Piece(cache, second[37:])]).values
    torch.testing.assert_close(logits[0], expected(model, second)[-1], **CLOSE)


def test_ids_without_a_token_are_never_the_likeliest(make_one: Callable[[GPT2], Runner]) -> None:
    class Padded(GPT2):
        unused_ids = [0, 5, 306]  # noqa: RUF012

    model = Padded(GPT2Config(**SHAPE))  # type: ignore[arg-type]
    model.wte.weight.data[[0, 5, 306]] *= 100
    runner = make_one(model.eval())
    logits = runner.run([Piece(runner.new_cache(9), [1, 2, 3], wanted=3)])
    assert torch.isinf(logits.values[:, [0, 5, 306]]).all()
    assert not {0, 5, 306} & set(logits.likeliest)
    want = torch.tensor(logits.log_normalizers)
    torch.testing.assert_close(logits.values.logsumexp(-1), want, **CLOSE)


def test_of_equal_logits_the_lowest_id_is_the_likeliest(
    make_one: Callable[[GPT2], Runner],
) -> None:
    model = make(vocab_size=9000)
    model.wte.weight.data[:] = 0
    model.wte.weight.data[[4500, 77, 8999]] = 1
    model.ln_f.bias.data[:] = 1
    runner = make_one(model)
    assert runner.run([Piece(runner.new_cache(9), [1])]).likeliest == [77]


class TestCompiled:
    @pytest.fixture(params=["float32", "bfloat16", "int8", "int4"])
    def precision(self, request: pytest.FixtureRequest) -> str:
        return request.param

    @pytest.mark.parametrize("threads", [1, 2, 3])
    def test_logits_are_the_same_to_the_bit_however_a_text_is_read(
        self, precision: str, threads: int
    ) -> None:
        model = make(n_embd=160)
        ids = some_ids(60)
        whole = read(CpuRunner(model, precision, threads=1), ids, [60])
        runner = CpuRunner(model, precision, threads=threads)
        for pieces in ([1] * 60, [MOST_ROWS, MOST_ROWS + 1, 60 - 2 * MOST_ROWS - 1], [59, 1]):
            assert torch.equal(read(runner, ids, pieces), whole)
        others = [Piece(runner.new_cache(30), some_ids(n, seed=n)) for n in (5, 1, 20)]
        mine = Piece(runner.new_cache(60), ids, wanted=60)
        logits = runner.run([others[0], mine, *others[1:]])
        assert torch.equal(logits.values[1:61], whole)

    @pytest.mark.parametrize("settings", [{}, {"n_embd": 130}, {"n_inner": 100}], ids=str)
    def test_integers_give_the_logits_of_the_quantized_network(
        self, precision: str, settings: dict[str, object]
    ) -> None:
        model = make(**settings)
        if precision.startswith("int"):
            quantize_network(model, 8 if precision == "int8" else 4)
        else:
            model.to(getattr(torch, precision)).float()
        with torch.inference_mode():
            want = model(torch.tensor([some_ids(30)]))[0]
        found = read(CpuRunner(model, precision, threads=2), some_ids(30), [30])
        # Activations have 16 bits: an error of 2**-16 of the largest, in each matrix.
        atol = 2e-3 if precision.startswith("int") else 1e-5
        torch.testing.assert_close(found, want, atol=atol, rtol=1e-4)

    @pytest.mark.parametrize("tied", [True, False])
    @pytest.mark.parametrize("bits", [8, 4])
    def test_a_float_model_is_quantized_as_its_export_is(self, bits: Any, tied: bool) -> None:
        model, quantized = (make(tie_word_embeddings=tied) for _ in range(2))
        quantize_network(quantized, bits)
        found = read(CpuRunner(model, f"int{bits}"), some_ids(30), [30])
        assert torch.equal(found, read(CpuRunner(quantized, f"int{bits}"), some_ids(30), [30]))

    def test_more_than_one_page_and_chunk_are_read(self) -> None:
        model = make(n_positions=3 * LANES + 40, vocab_size=9000)
        ids = some_ids(3 * LANES + 40)
        want = expected(model, ids)
        first = ids[: len(ids) - 30]
        runner = CpuRunner(model, "float32")
        cache = runner.new_cache(len(ids))
        for start in range(0, len(first), 100):
            runner.run([Piece(cache, first[start : start + 100], wanted=0)])
        found = runner.run([Piece(cache, ids[len(first) :], wanted=30)])
        torch.testing.assert_close(found.values, want[-30:], **CLOSE)

    def test_a_large_logit_does_not_overflow(self) -> None:
        model = make()
        model.wte.weight.data[:] *= 1e4
        runner = CpuRunner(model, "float32")
        logits = runner.run([Piece(runner.new_cache(10), some_ids(10), wanted=10)])
        want = logits.values.double().logsumexp(-1)
        assert want.max() > 1e3
        torch.testing.assert_close(torch.tensor(logits.log_normalizers).double(), want)


class TestChoice:
    def test_the_fastest_exact_precision_is_chosen(self) -> None:
        model = make()
        assert precision_of(make_runner(model, "auto", 2, None)) == "float32"
        assert precision_of(make_runner(model.bfloat16(), "auto", 2, None)) == "bfloat16"
        assert precision_of(make_runner(model.float(), "auto", 2, None)) == "bfloat16"
        quantized = make()
        quantize_network(quantized, 4)
        assert precision_of(make_runner(quantized, "auto", 2, None)) == "int4"

    def test_the_network_itself_computes_what_is_not_compiled(self) -> None:
        assert isinstance(make_runner(make().double(), "auto", 2, None), TorchRunner)
        manual = with_manual_attention(make())
        assert isinstance(make_runner(manual, "auto", 2, None), TorchRunner)
        with pytest.raises(ConfigError, match="int8 weights are for flash attention"):
            make_runner(manual, "int8", 2, None)

    def test_an_unknown_precision_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="must be one of auto, float32.*, got 'int2'"):
            make_runner(make(), "int2", 2, None)  # type: ignore[arg-type]

    def test_a_quantized_model_has_its_own_precision_alone(self) -> None:
        model = make()
        quantize_network(model, 8)
        with pytest.raises(ConfigError, match="must be auto or int8, as the model is, got 'int4'"):
            make_runner(model, "int4", 2, None)


def precision_of(runner: Runner) -> str:
    assert isinstance(runner, CpuRunner)
    return runner.precision


@pytest.fixture(autouse=True)
def _few_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


def test_without_a_compiler_the_network_computes_and_it_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gpt2.generation.cpu.runner", None)
    assert isinstance(make_runner(make(), "auto", 2, None), TorchRunner)
    assert "torch computes it, more slowly" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="int8 needs a pass that Numba compiles"):
        make_runner(make(), "int8", 2, None)


def test_without_a_writable_folder_the_pass_is_compiled_and_it_is_said() -> None:
    code = (
        "import numba.core.caching as caching\n"
        "def refuse(*_): raise OSError\n"
        "for locator in caching.CacheImpl._locator_classes: locator.ensure_cache_path = refuse\n"
        "import gpt2.generation.cpu.runner as runner\n"
        "from gpt2.generation.generate import generate\n"
        "from gpt2 import GPT2, GPT2Config, GenerationConfig\n"
        "config = GPT2Config(vocab_size=50, n_positions=8, n_embd=8, n_layer=1, n_head=2)\n"
        "how = GenerationConfig(max_new_tokens=3)\n"
        "print(len(generate(GPT2(config), [[1]], how)[0].ids))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "3\n"
    assert "for this process alone, as no folder for it is writable" in ran.stderr


def test_reductions_take_all_entries() -> None:
    values = np.arange(-100, 220, dtype=np.float32)  # 320 are a multiple of LANES on any processor

    @njit
    def reduce(address: Any, count: Any) -> Any:
        return (
            total(address, count),
            total_of_squares(address, count),
            largest(address, count),
            largest_magnitude(address, count),
        )

    expected = values.sum(), (values * values).sum(), 219, 219
    assert reduce(values.ctypes.data, 320) == expected
    values *= -1
    assert reduce(values.ctypes.data, 320) == (-expected[0], expected[1], 100, 219)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_matrices_are_taken_out_of_the_model_if_asked_for(precision: str) -> None:
    want = read(CpuRunner(make(), precision), some_ids(9), [9])
    model = make()
    runner = CpuRunner(model, precision, take=True)
    assert torch.equal(read(runner, some_ids(9), [9]), want)
    assert model.block(0).mlp.c_fc.weight.is_meta
