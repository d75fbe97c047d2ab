"""A real run is trained, killed and resumed while it is watched, step by step."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Timer
from typing import Any

import pytest

from gpt2.config import CheckpointConfig, DataConfig, HistoryConfig, RunConfig
from gpt2.serve.watch.file import history_of
from gpt2.serve.watch.points import shown
from gpt2.serve.watch.run import RunWatch
from gpt2.train.metrics import read_metrics
from gpt2.visual.moments import read_moments

pytestmark = pytest.mark.kills

MOST_SECONDS = 60  # for a process

# It takes a step when it is asked to, and has then written all that is to be written.
TRAINING = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
import gpt2.devices
from gpt2.config import RunConfig
from gpt2.train import run as training
from gpt2.train.checkpoint_writer import CheckpointWriter
from gpt2.train.loop import Trainer

gpt2.devices.peak_flops = lambda device, dtype: 1e12  # measured for a quarter of a second
training.write_page = lambda run: None  # it takes a second
take_step, save = Trainer.take_step, CheckpointWriter.save

def take_step_when_asked(trainer):
    print("ready", flush=True)
    sys.stdin.readline()
    return take_step(trainer)

def save_and_wait(writer, snapshot):
    save(writer, snapshot)
    writer.wait()

Trainer.take_step, CheckpointWriter.save = take_step_when_asked, save_and_wait
recipe, run = map(Path, sys.argv[1:])
if (run / "config.toml").exists():
    training.resume(run)
else:
    training.start(RunConfig.from_toml(recipe), run)
print("done", flush=True)
"""


class Training:
    """A process that trains step by step."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process

    def reaches(self, word: str) -> None:
        """Wait until the process says a word."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"{word}\n"

    def step(self) -> None:
        """Let it take a step."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()


@contextmanager
def training(recipe: Path, run: Path) -> Iterator[Training]:
    """Train, or resume, and kill the process at the end of the context."""
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINING, recipe, run],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    too_long = Timer(MOST_SECONDS, process.kill)
    too_long.start()
    with process:
        try:
            yield Training(process)
        finally:
            process.kill()
            too_long.cancel()


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """The kinds of events, of parts the names."""
    return [event.get("part", event["kind"]) for event in events]


def test_a_run_that_is_killed_and_resumed_is_seen_as_it_goes(
    written: Any, shards: Path, tmp_path: Path
) -> None:
    written.begin()
    config = RunConfig.from_toml(written.directory / "config.toml")
    recipe, run = tmp_path / "recipe.toml", tmp_path / "trained"
    config = replace(
        config,
        data=DataConfig(directory=shards),
        training=replace(config.training, device="cpu", dtype="float32"),
        checkpoint=CheckpointConfig(every=3, keep_best=False),
        history=HistoryConfig(moments=8),
    )
    recipe.write_text(config.to_toml())
    watch = RunWatch(run, "trained")
    now = 4e9  # seconds since 1970, after all files
    assert kinds(watch.look(now)) == ["all"]

    with training(recipe, run) as process:
        process.reaches("ready")
        assert set(kinds(watch.look(now + 1))) == {"settings", "moments", "status"}
        for step in range(1, 6):
            process.step()
            process.reaches("ready")
            events = watch.look(now + 1 + step)
            assert [row["step"] for row in events[0]["rows"]] == [step]
            assert ("held_out" in kinds(events)) == (step in (2, 4))
            assert ("checkpoints" in kinds(events)) == (step == 3)
    written_by_a_killed_process = '{"step": 6, "loss": 5.'
    with (run / "metrics.jsonl").open("a") as file:
        file.write(written_by_a_killed_process)
    assert watch.look(now + 7) == []
    assert watch.state()["moments"] == [0, 1, 2, 4]
    assert kinds(watch.look(now + 1000)) == ["status"]
    assert watch.state()["status"]["phase"] == "silent"
    before = watch.state()

    with training(recipe, run) as process:
        process.reaches("ready")
        [event] = watch.look(now + 1001)
        assert event["state"]["rows"] == before["rows"][:3]
        assert event["state"]["held_out"] == before["held_out"][:1]
        assert event["state"]["moments"] == [0, 1, 2]  # that of step 4 will come again
        assert event["state"]["status"]["phase"] == "training"
        process.step()
        process.reaches("ready")
        [row] = watch.look(now + 1002)[0]["rows"]
        assert row["step"] == 4
        assert row["training_seconds"] > before["rows"][2]["training_seconds"]
        process.step()
        process.reaches("ready")
        process.step()
        process.reaches("done")
    watch.look(now + 1003)
    state = watch.state()
    steps = [shown(row) for row in read_metrics(run) if "loss" in row]
    assert [row["step"] for row in steps] == [1, 2, 3, 4, 5, 6]
    assert state["rows"] == steps
    assert [row["step"] for row in state["held_out"]] == [2, 4, 6]
    assert [entry["step"] for entry in state["checkpoints"]] == [3, 6]
    assert all(entry["is_complete"] for entry in state["checkpoints"])
    assert state["status"]["phase"] == "ended"
    assert state["notes"] == []
    history = history_of(state)
    assert history is not None
    kept = [moment.step for moment in read_moments(run)]
    assert state["moments"] == [moment["step"] for moment in history["moments"]] == kept
