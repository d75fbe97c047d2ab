"""A run that takes a moment, and the comparison of two runs to the bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

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
from gpt2.visual.moments import read_moments

TIMES = (
    "training_seconds",
    "evaluation_seconds",
    "tokens_per_second",
    "mfu",
)  # differ from run to run


# With dropout, whose draws do not depend on the number of processes either. Both are relative, of
# tensors to the largest of their values; steps are of 1e-3 of a weight.
LOSSES, TENSORS = 1e-6, 1e-3
COMPARED = {"step", "loss", "val_loss", "hellaswag_acc", "hellaswag_acc_norm", "learning_rate"}
COMPARED |= {"tokens"}


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


@pytest.fixture
def assert_close() -> Callable[[Path, Path], None]:
    """Compare all metrics and the last weights and optimizers of two runs, up to rounding."""

    def compare(one: Path, other: Path) -> None:
        for row, theirs in zip(read_metrics(one), read_metrics(other), strict=True):
            for key in COMPARED & row.keys():
                assert row[key] == pytest.approx(theirs[key], rel=LOSSES), (key, row, theirs)
            if "grad_norm" in row:  # torch adds up squares in float32
                assert row["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-4)
        for file in ("model.safetensors", "training_state.safetensors"):
            tensors, theirs = (load_file(newest_checkpoint(run) / file) for run in (one, other))
            assert tensors.keys() == theirs.keys()
            for name, tensor in tensors.items():
                largest = theirs[name].abs().max().item()
                assert (tensor - theirs[name]).abs().max().item() <= TENSORS * largest, name
        for moment, same in zip(read_moments(one), read_moments(other), strict=True):
            assert (moment.step, moment.tokens, moment.ids) == (same.step, same.tokens, same.ids)
            for name in ("attention", "positions", "weights"):
                torch.testing.assert_close(
                    getattr(moment, name), getattr(same, name), rtol=0, atol=TENSORS
                )

    return compare
