"""A run directory whose files change under the reader."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from gpt2.config import (
    CheckpointConfig,
    DataConfig,
    EvaluationConfig,
    GPT2Config,
    RunConfig,
    TrainingConfig,
)
from gpt2.files.run_directory import checkpoint_name

CONFIG = RunConfig(
    model=GPT2Config(vocab_size=300, n_positions=16, n_embd=24, n_layer=2, n_head=2),
    data=DataConfig(directory=Path("nowhere")),
    training=TrainingConfig(steps=6, batch_tokens=64, micro_batch=2),
    evaluation=EvaluationConfig(every=2, val_tokens=64),
    checkpoint=CheckpointConfig(every=2),
)


@dataclass(frozen=True)
class WrittenRun:
    """Writes the files of a run as training does."""

    directory: Path

    def begin(self, config: RunConfig = CONFIG, **training: Any) -> None:
        """Write its settings."""
        config = replace(config, training=replace(config.training, **training))
        self.directory.mkdir(exist_ok=True)
        (self.directory / "config.toml").write_text(config.to_toml())

    def append(self, *rows: dict[str, Any], name: str = "metrics.jsonl") -> None:
        """Append rows to a file."""
        self.append_text("".join(json.dumps(row) + "\n" for row in rows), name=name)

    def append_text(self, text: str, name: str = "metrics.jsonl") -> None:
        """Append a text to a file."""
        with (self.directory / name).open("a") as file:
            file.write(text)

    def replace(self, *rows: dict[str, Any]) -> None:
        """Replace the metrics, as a run that is resumed does."""
        (self.directory / "metrics.partial").write_text(
            "".join(json.dumps(row) + "\n" for row in rows)
        )
        (self.directory / "metrics.partial").replace(self.directory / "metrics.jsonl")

    def checkpoint(self, step: int, *, suffix: str = "", whole: bool = True) -> Path:
        """Write a checkpoint of 5 bytes and its manifest."""
        path = self.directory / "checkpoints" / (checkpoint_name(step) + suffix)
        path.mkdir(parents=True)
        (path / "model").write_bytes(b"12345" if whole else b"123")
        (path / "manifest.json").write_text('{"model": {"bytes": 5}}')
        return path

    def moment(self, step: int) -> Path:
        """Write a file with the name of a moment."""
        path = self.directory / "moments" / f"{checkpoint_name(step)}.safetensors"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
        return path

    @staticmethod
    def step_row(step: int, **more: Any) -> dict[str, Any]:
        """A step of 64 tokens that took half a second."""
        return {
            "step": step,
            "loss": 6.0 - step,
            "learning_rate": 0.01,
            "grad_norm": 1.5,
            "tokens": 64 * step,
            "tokens_per_second": 128.0,
            "mfu": 0.25,
            "training_seconds": 0.5 * step,
            **more,
        }

    @staticmethod
    def held_out_row(step: int, loss: float | None) -> dict[str, Any]:
        """An evaluation."""
        return {"step": step, "val_loss": loss, "val_tokens": 64, "evaluation_seconds": 1.0 * step}


@pytest.fixture
def written(tmp_path: Path) -> WrittenRun:
    """A run that is not there yet."""
    return WrittenRun(tmp_path / "run")
