"""A run that takes a moment, and the comparison of two runs to the bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpt2.config import (
    CheckpointConfig,
    DataConfig,
    EvaluationConfig,
    GPT2Config,
    OptimizerConfig,
    RunConfig,
    TrainingConfig,
)
from gpt2.files.run_directory import newest_checkpoint
from gpt2.train.metrics import read_metrics

TIMES = (
    "training_seconds",
    "evaluation_seconds",
    "tokens_per_second",
    "mfu",
)  # differ from run to run


@pytest.fixture
def config(shards: Path) -> RunConfig:
    """Six steps of four rows, with dropout; evaluated and saved every second step."""
    return RunConfig(
        model=GPT2Config(vocab_size=300, n_positions=16, n_embd=24, n_layer=2, n_head=2),
        data=DataConfig(directory=shards, seed=3),
        training=TrainingConfig(
            steps=6, batch_tokens=64, micro_batch=2, seed=1, dtype="float32", device="cpu"
        ),
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=2),
        evaluation=EvaluationConfig(every=2, val_tokens=48),
        checkpoint=CheckpointConfig(every=2, keep_last=9),
    )


@pytest.fixture(autouse=True)
def known_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare each of the many runs the quarter of a second in which the peak is measured."""
    monkeypatch.setattr("gpt2.devices.peak_flops", lambda device, dtype: 1e12)


@pytest.fixture
def timeless() -> Callable[[Path], list[dict[str, Any]]]:
    """Return a run's metrics without what a clock tells."""

    def read(run: Path) -> list[dict[str, Any]]:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in read_metrics(run)]

    return read


@pytest.fixture
def assert_same_run(timeless: Callable[[Path], Any]) -> Callable[[Path, Path], None]:
    """Compare two runs by all metrics, and by every byte of weights and optimizer at the end."""

    def compare(one: Path, other: Path) -> None:
        assert timeless(one) == timeless(other)
        for file in ("model.safetensors", "training_state.safetensors"):
            newest = [newest_checkpoint(run) / file for run in (one, other)]
            assert newest[0].read_bytes() == newest[1].read_bytes(), file

    return compare
