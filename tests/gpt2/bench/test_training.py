import dataclasses
import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gpt2.bench import peers, training, training_engines
from gpt2.bench.plain_gpt import PlainGPT
from gpt2.bench.training import Measurement, Peaks, best_of, measure, one_step
from gpt2.bench.training_engines import Job, Times
from gpt2.bench.training_peers import TRAINING_PEERS, make_peer
from gpt2.config import DataConfig, GPT2Config, OptimizerConfig, RunConfig, TrainingConfig
from gpt2.data.batches import Batches, TokenStream
from gpt2.data.shards import header_of
from gpt2.errors import ConfigError
from gpt2.files.pretrained import GPT2
from gpt2.model.gpt import GPT2Network

CPU = torch.device("cpu")
PEAKS = Peaks(device="a CPU", product_flops=1e12, read_bandwidth=1e9)
# A multiple of 64 tokens, since PlainGPT pads to it.
SHAPE = GPT2Config(
    vocab_size=64,
    n_positions=16,
    n_embd=12,
    n_layer=2,
    n_head=3,
    embd_pdrop=0.0,
    attn_pdrop=0.0,
    resid_pdrop=0.0,
)
RUN = one_step(
    RunConfig(
        model=SHAPE,
        training=TrainingConfig(batch_tokens=8 * 16, dtype="float32", device="cpu", seed=3),
    ),
    rows=4,
    length=16,
)


@pytest.fixture(autouse=True)
def threads_are_as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def shard() -> np.ndarray:
    return np.random.default_rng(0).integers(64, size=16 * 9 + 1).astype(np.uint16)


def job(engine: str, tmp_path: Path, shard: np.ndarray, config: RunConfig = RUN) -> Job:
    path = tmp_path / "rows.bin"
    path.write_bytes(header_of(len(shard)) + shard.astype("<u2").tobytes())
    return Job(engine=engine, settings=config.to_sections(), shard=str(path), threads=1)


def times(seconds: float, *, mlp: float = 1.0) -> Times:
    return Times(
        step_seconds=seconds, parts={"MLP": mlp, "other": 1.0}, peak_memory_bytes=1000, loss=4.0
    )


def measured(
    monkeypatch: pytest.MonkeyPatch, rounds: dict[str, list[Times]], peaks: list[Peaks]
) -> dict[str, Measurement]:
    """Measure, with the times of each engine and the peaks given."""
    left = {engine: iter(each) for engine, each in rounds.items()}
    peaks_left = iter(peaks)
    monkeypatch.setattr(training, "_run", lambda job: next(left[job.engine]))
    monkeypatch.setattr(training, "measure_peaks", lambda *_: next(peaks_left))
    against = [name for name in rounds if name != "gpt2"]
    report = measure(RUN, against=against, rounds=len(rounds["gpt2"]))
    return {row.engine: row for row in report.rows}


def test_rates_are_of_whole_steps_and_shares_of_the_best_peak(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    best = replace(PEAKS, product_flops=2e12)
    rows = measured(
        monkeypatch,
        {"gpt2": [times(2.0), times(1.0), times(4.0)]},
        [PEAKS, best, PEAKS, PEAKS],  # before, between and after the rounds
    )
    ours = rows["gpt2"]
    assert (ours.tokens_per_second, ours.step_seconds) == (64 / 2.0, 2.0)
    # 12 weights a block and channel pair, and the head; 12 a layer, channel and position.
    flops = 6 * (2 * 12 * 12 * 12 + 2 * 13 * 12 + 2 * 12 + 64 * 12) + 12 * 2 * 12 * 16
    assert GPT2Network(SHAPE).flops_per_token() == flops
    assert ours.share_of_peak == pytest.approx(32 * flops / 2e12)
    assert ours.ours_times_as_fast is None


def test_the_ratio_is_the_median_of_the_rounds_own_ratios(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rounds = {
        "gpt2": [times(1.0), times(10.0), times(1.0)],  # a slow moment
        "nanogpt-like": [times(3.0), times(20.0), times(4.0)],
    }
    rows = measured(monkeypatch, rounds, [PEAKS] * 4)
    assert rows["nanogpt-like"].ours_times_as_fast == 3.0
    assert rows["nanogpt-like"].tokens_per_second == 64 / 4.0


def test_a_peer_that_is_named_twice_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_run", lambda job: times(1.0))
    monkeypatch.setattr(training, "measure_peaks", lambda *_: PEAKS)
    report = measure(RUN, against=["nanogpt-like", "nanogpt-like"], rounds=2)
    assert [row.engine for row in report.rows] == ["gpt2", "nanogpt-like"]


def test_parts_are_those_of_one_round_so_that_they_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = {"gpt2": [times(1.0, mlp=5.0), times(1.0, mlp=2.0), times(1.0, mlp=3.0)]}
    rows = measured(monkeypatch, rounds, [PEAKS] * 4)
    assert rows["gpt2"].parts == {"MLP": 3.0, "other": 1.0}


def test_a_device_whose_peak_is_not_known_has_no_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = Peaks(device="a GPU", product_flops=None, read_bandwidth=None)
    rows = measured(monkeypatch, {"gpt2": [times(1.0)]}, [unknown] * 2)
    assert rows["gpt2"].share_of_peak is None
    assert best_of([unknown, PEAKS]).product_flops == 1e12


def test_an_engine_that_fails_is_left_out_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(job: Job) -> Times:
        if job.engine == "nanogpt-like":
            raise ConfigError("no memory")
        return times(1.0)

    monkeypatch.setattr(training, "_run", run)
    monkeypatch.setattr(training, "measure_peaks", lambda *_: PEAKS)
    rows = measure(RUN, against=["nanogpt-like"], rounds=2).rows
    assert [row.engine for row in rows] == ["gpt2"]
    line = "nanogpt-like is left out, since it failed: no memory\n"
    assert capsys.readouterr().err.count(line) == 1


def test_it_is_an_error_if_all_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(job: Job) -> Times:
        raise ConfigError("no memory")

    monkeypatch.setattr(training, "_run", run)
    monkeypatch.setattr(training, "measure_peaks", lambda *_: PEAKS)
    with pytest.raises(ConfigError, match="nothing could be measured"):
        measure(RUN)


def test_a_peer_that_is_missing_is_left_out_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(training, "_run", lambda job: times(1.0))
    monkeypatch.setattr(training, "measure_peaks", lambda *_: PEAKS)
    rows = measure(RUN, against=["transformers"], rounds=1).rows
    assert [row.engine for row in rows] == ["gpt2"]
    line = "transformers is left out, since it is not installed: pip install transformers\n"
    assert capsys.readouterr().err.startswith(line)


def test_an_unknown_peer_is_refused() -> None:
    with pytest.raises(ConfigError, match="against must be of transformers, nanogpt-like, got jax"):
        measure(RUN, against=["jax"])


def test_a_step_is_one_micro_batch_of_whole_contexts_with_new_weights() -> None:
    config = RunConfig(
        model=SHAPE,
        data=DataConfig(train_tokens=1000),
        training=TrainingConfig(batch_tokens=256, short_context=8, init_from="gpt2"),
        optimizer=OptimizerConfig(kind="normuon"),
    )
    changed = one_step(config, rows=3, length=10)
    assert (changed.batch_rows, changed.model.n_positions) == (3, 10)
    assert changed.training.micro_batch == 3
    assert changed.training.short_context is changed.training.init_from is None
    assert changed.data.train_tokens is None
    assert changed.optimizer == config.optimizer


def test_the_shard_has_rows_for_a_step_of_ids_that_the_model_has() -> None:
    content = training._random_shard(RUN)
    ids = np.frombuffer(content, "<u2", offset=1024)
    assert len(ids) == 64 * 16 + 1
    assert ids.min() == 0 and ids.max() == 63
    many = one_step(RUN, rows=100, length=16)
    assert len(training._random_shard(many)) == 1024 + 2 * (100 * 16 + 1)


def test_peaks_are_measured_with_the_threads_that_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []
    monkeypatch.setattr(training, "read_bandwidth", lambda threads: float(threads))
    monkeypatch.setattr(
        training.devices, "peak_flops", lambda *_: seen.append(torch.get_num_threads()) or 5.0
    )
    threads = torch.get_num_threads()
    peaks = training.measure_peaks(CPU, torch.float32, threads + 1)
    assert (peaks.product_flops, peaks.read_bandwidth) == (5.0, threads + 1)
    assert seen == [threads + 1]
    assert torch.get_num_threads() == threads


def test_ours_takes_the_steps_of_a_run(tmp_path: Path, shard: np.ndarray) -> None:
    got = training_engines.measure(job("gpt2", tmp_path, shard))
    with closing(Batches(TokenStream([shard], 16), 4, seed=0)) as batches:
        rows = torch.from_numpy(batches.at(0))
    expected = GPT2(SHAPE, seed=3).loss(rows[:, :-1], rows[:, 1:]).item()
    assert got.loss == pytest.approx(expected, abs=1e-6)
    assert got.step_seconds > 0
    assert got.parts.keys() == {
        "embedding", "attention", "MLP", "head and loss", "optimizer", "data", "other"
    }  # fmt: skip
    assert got.peak_memory_bytes is None or got.peak_memory_bytes > 2**20


@pytest.mark.parametrize("engine", ["gpt2", "nanogpt-like"])
def test_parts_beside_a_step_without_a_clock(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shard: np.ndarray, engine: str
) -> None:
    monkeypatch.setattr(training_engines, "ENOUGH_SECONDS", 0.0)
    taken = []
    monkeypatch.setattr(training_engines, "middle_of", lambda parts: taken.extend(parts) or {})
    training_engines.measure(job(engine, tmp_path, shard))
    assert len(taken) == training_engines.LEAST  # as many as are timed without it
    assert all("MLP" in parts for parts in taken)


def test_each_engine_runs_in_a_process_of_its_own(tmp_path: Path, shard: np.ndarray) -> None:
    got = training._run(job("gpt2", tmp_path, shard))
    assert math.isfinite(got.loss) and got.step_seconds > 0


@pytest.mark.parametrize("peer", TRAINING_PEERS)
@pytest.mark.parametrize("tied", [True, False])
def test_a_peer_has_the_loss_and_gradient_of_ours_on_the_same_weights_and_rows(
    tmp_path: Path, shard: np.ndarray, peer: str, tied: bool
) -> None:
    if peer == "transformers":
        pytest.importorskip("transformers")
    shape = dataclasses.replace(SHAPE, tie_word_embeddings=tied)
    ours = GPT2(shape, seed=1)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.mul_(4.0)  # so that the losses of rows differ
    config = replace(RUN, model=shape)
    with closing(Batches(TokenStream([shard], 16), 4, seed=0)) as batches:
        trainer, network = make_peer(peer, config, batches, CPU)
        rows = torch.from_numpy(batches.at(0))
        take_weights(trainer.model, ours, tmp_path)
        expected = ours.loss(rows[:, :-1], rows[:, 1:])
        loss = trainer.loss(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())
        torch.testing.assert_close(loss, expected, rtol=1e-5, atol=0)
        expected.backward()
        loss.backward()
        torch.testing.assert_close(
            network.wte.weight.grad, ours.wte.weight.grad, rtol=1e-4, atol=1e-6
        )
        trainer.optimizer.zero_grad()
        assert trainer.take_step()["loss"] == pytest.approx(expected.item(), rel=1e-5)


def take_weights(peer: torch.nn.Module, ours: GPT2, folder: Path) -> None:
    """Give a peer our weights, as they are released."""
    if isinstance(peer, PlainGPT):
        peer.load_state_dict(ours.state_dict() | {"lm_head.weight": ours.lm_head.weight})
        return
    from transformers import GPT2LMHeadModel

    ours.save_pretrained(folder / "model")
    weights = GPT2LMHeadModel.from_pretrained(folder / "model").state_dict()
    peer.load_state_dict(weights)


def test_a_peer_clips_gradients_and_decays_matrices_alone(shard: np.ndarray) -> None:
    with closing(Batches(TokenStream([shard], 16), 4, seed=0)) as batches:
        trainer, _ = make_peer("nanogpt-like", RUN, batches, CPU)
    matrices, vectors = trainer.optimizer.param_groups
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.1, 0.0)
    assert {p.ndim for p in vectors["params"]} == {1}
    for parameter in trainer.model.parameters():
        parameter.grad = torch.full_like(parameter, 100.0)
    trainer.update()
    moments = [state["exp_avg"] for state in trainer.optimizer.state.values()]
    norm = torch.stack([moment.norm() for moment in moments]).norm().item() / (1 - 0.9)
    assert norm == pytest.approx(1.0, rel=1e-4)
    assert all(p.grad is None for p in trainer.model.parameters())


def test_the_vocabulary_of_the_plain_model_is_padded() -> None:
    model = PlainGPT(replace(SHAPE, vocab_size=65))
    assert len(model.wte.weight) == 128
