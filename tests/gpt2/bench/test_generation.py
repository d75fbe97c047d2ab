import importlib.util
import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from gpt2.bench import engines, generation, peers
from gpt2.bench.engines import Job, Times
from gpt2.bench.generation import Machine, Measurement, Work
from gpt2.config import GPT2Config
from gpt2.errors import ConfigError
from gpt2.files.pretrained import GPT2

MACHINE = Machine(
    processor="a processor", threads=1, read_bandwidth=1e9, peak_flops={"float32": 1e12}
)
WORK = Work(dtypes=("float32",), batches=(1, 4), prompt_tokens=4, new_tokens=5, rounds=2)


@pytest.fixture
def machine_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "measure_machine", lambda dtypes, threads: MACHINE)


def times(*, decode: float, prefill: float = 0.5) -> Times:
    return Times(
        first_token_seconds=[0.1, 0.2],
        decode_seconds=[decode, 2 * decode],
        prefill_seconds=prefill,
        peak_memory_bytes=1000,
        read_bandwidth=[1e9, 2e9],
        weight_bytes=10_000_000,
    )


def measured(
    model: GPT2,
    monkeypatch: pytest.MonkeyPatch,
    rounds: dict[str, list[Times]],
    work: Work = WORK,
) -> list[Measurement]:
    """Measure, with the times of each engine given."""
    left = {engine: iter(each) for engine, each in rounds.items()}
    monkeypatch.setattr(generation, "_run", lambda job: next(left[job.engine]))
    return generation.measure(model, work).rows


@pytest.mark.usefixtures("machine_is_known")
def test_rates_are_of_the_tokens_after_the_first(
    model: GPT2, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, four = measured(model, monkeypatch, {"gpt2": [times(decode=2.0)] * 2})
    assert (one.batch, one.tokens_per_second, one.milliseconds_per_token) == (1, 2.0, 500.0)
    assert (four.batch, four.tokens_per_second, four.milliseconds_per_token) == (4, 4.0, 1000.0)


@pytest.mark.usefixtures("machine_is_known")
def test_the_limit_is_a_read_of_all_weights_a_step(
    model: GPT2, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, four = measured(model, monkeypatch, {"gpt2": [times(decode=2.0)] * 2})
    assert one.limit_tokens_per_second == pytest.approx(100)
    assert four.limit_tokens_per_second == pytest.approx(4 * 200)  # the memory was faster then
    assert one.share_of_limit == pytest.approx(2.0 / 100)


def test_operations_of_a_prefill_are_counted_by_hand() -> None:
    model = GPT2(GPT2Config(vocab_size=7, n_positions=8, n_embd=2, n_layer=1, n_head=1))
    # 48 weights a token, a head of 14 weights once; 1 + 2 + 3 pairs, 2 channels, 2 products each.
    assert generation.prefill_flops(model, 3) == 2 * 48 * 3 + 2 * 14 + 2 * 2 * 2 * (1 + 2 + 3)


@pytest.mark.usefixtures("machine_is_known")
def test_the_ratio_is_the_median_of_the_rounds_own_ratios(
    model: GPT2, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = {
        "gpt2": [times(decode=1.0), times(decode=10.0), times(decode=1.0)],  # a slow moment
        "transformers": [times(decode=3.0), times(decode=20.0), times(decode=4.0)],
    }
    work = Work(**asdict(WORK) | {"against": ("transformers",), "rounds": 3})
    rows = measured(model, monkeypatch, rounds, work)
    assert [(row.engine, row.batch) for row in rows] == [
        ("gpt2", 1), ("gpt2", 4), ("transformers", 1), ("transformers", 4)
    ]  # fmt: skip
    assert [row.ours_times_as_fast for row in rows] == [None, None, 3.0, 3.0]
    assert rows[2].limit_tokens_per_second is None
    assert rows[2].tokens_per_second == 1.0


@pytest.mark.usefixtures("machine_is_known")
def test_an_engine_that_fails_is_left_out_in_a_line(
    model: GPT2, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(job: Job) -> Times:
        if job.engine == "transformers":
            raise ConfigError("no memory")
        return times(decode=1.0)

    monkeypatch.setattr(generation, "_run", run)
    work = Work(**asdict(WORK) | {"against": ("transformers",)})
    rows = generation.measure(model, work).rows
    assert {row.engine for row in rows} == {"gpt2"}
    line = "transformers in float32 is left out, since it failed: no memory\n"
    assert capsys.readouterr().err.count(line) == 1


@pytest.mark.usefixtures("machine_is_known")
def test_it_is_an_error_if_all_fail(model: GPT2, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(job: Job) -> Times:
        raise ConfigError("no memory")

    monkeypatch.setattr(generation, "_run", run)
    with pytest.raises(ConfigError, match="nothing could be measured"):
        generation.measure(model, WORK)


@pytest.mark.usefixtures("machine_is_known")
def test_a_peer_that_is_missing_is_told_with_how_to_install_it(
    model: GPT2, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None)
    work = Work(**asdict(WORK) | {"against": ("llama.cpp",)})
    measured(model, monkeypatch, {"gpt2": [times(decode=1.0)] * 2}, work)
    assert capsys.readouterr().err.startswith(
        "llama.cpp is left out, since it is not installed: pip install xllamacpp gguf\n"
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dtypes": ("int3",)}, "dtypes must be of float32, bfloat16, int8, int4, got int3"),
        ({"against": ("vllm",)}, "against must be of .*, got vllm"),
        ({"new_tokens": 21}, "at most 24 together, .*, got 4 and 21"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    model: GPT2, changed: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        generation.check(model, Work(**asdict(WORK) | changed))


def job(engine: str, path: Path, dtype: str) -> Job:
    return Job(
        engine=engine,
        path=str(path),
        dtype=dtype,
        threads=1,
        batches=[1, 3],
        prompt_tokens=4,
        new_tokens=5,
        prefill_tokens=12,
        vocab_size=300,
    )


def test_each_shape_is_warmed_up_before_it_is_timed() -> None:
    asked = []

    def complete(prompts: list[list[int]], new_tokens: int) -> list[int]:
        assert all(0 <= i < 300 for prompt in prompts for i in prompt)
        asked.append((len(prompts), len(prompts[0]), new_tokens))
        return [new_tokens] * len(prompts)

    got = engines.measure(job("gpt2", Path(), "float32"), complete)
    of_one, of_three = [[*[(n, 4, 1)] * 3, (n, 4, 5)] for n in (1, 3)]
    assert asked == [(1, 12, 1), (1, 12, 1), (1, 4, 5), (3, 4, 5), *of_one, *of_three]
    assert len(got.first_token_seconds) == len(got.decode_seconds) == 2
    assert got.peak_memory_bytes is None or got.peak_memory_bytes > 2**20


def test_an_engine_that_writes_too_few_tokens_is_caught() -> None:
    with pytest.raises(ValueError, match="1 texts of 1 tokens are wanted, got \\[4\\]"):
        engines.measure(job("gpt2", Path(), "float32"), lambda prompts, new_tokens: [4])


@pytest.mark.parametrize(
    ("engine", "dtype"),
    [
        ("gpt2", "float32"),
        ("transformers", "float32"),
        ("ctranslate2", "int8"),
        ("llama.cpp", "q8_0"),
    ],
)
def test_each_engine_runs_in_a_process_of_its_own(
    model: GPT2, tmp_path: Path, engine: str, dtype: str
) -> None:
    packages = peers.PEERS[engine].packages if engine in peers.PEERS else ()
    if missing := [name for name in packages if importlib.util.find_spec(name) is None]:
        pytest.skip(f"{missing} not installed")
    peers.write_model(model, tmp_path, [engine])
    write = peers.PEERS[engine].write if engine in peers.PEERS else None
    path = write(tmp_path, dtype) if write else tmp_path / peers.HUGGING_FACE
    got = generation._run(job(engine, path, dtype))
    for seconds in (*got.first_token_seconds, *got.decode_seconds, got.prefill_seconds):
        assert math.isfinite(seconds) and seconds > 0
    assert bool(got.build) == (engine == "llama.cpp")


def test_the_machine_is_measured_in_the_dtypes_of_the_products() -> None:
    threads = torch.get_num_threads()
    machine = generation.measure_machine(["float32", "int8"], threads=1)
    assert torch.get_num_threads() == threads
    assert machine.peak_flops.keys() == {"float32", "int8"}
    assert min(machine.peak_flops.values()) > 1e6
    assert machine.read_bandwidth > 1e6


def test_the_best_moments_of_the_machine_count() -> None:
    slow = replace(MACHINE, read_bandwidth=1.0, peak_flops={"float32": 3.0})
    fast = replace(MACHINE, read_bandwidth=2.0, peak_flops={"float32": 1.0})
    best = replace(MACHINE, read_bandwidth=2.0, peak_flops={"float32": 3.0})
    assert generation.best_of([slow, fast]) == best
