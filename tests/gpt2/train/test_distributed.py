"""Several processes, started by torchrun and joined over gloo, beside one."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from gpt2 import devices
from gpt2.config import HistoryConfig, OptimizerKind, RunConfig, TrainingConfig
from gpt2.errors import ConfigError, Gpt2Error
from gpt2.files.checkpoint import verify_checkpoint
from gpt2.files.pretrained import GPT2
from gpt2.files.run_directory import newest_checkpoint, step_of
from gpt2.train import meeting
from gpt2.train.distributed import Processes, joined, parallelize
from gpt2.train.interruption import InterruptedRunError
from gpt2.train.run import resume, start

ON_CPU = TrainingConfig(device="cpu")


@pytest.fixture
def config(config: RunConfig, tmp_path: Path) -> RunConfig:
    """Eight steps of twelve rows, which 1, 2 and 3 processes share."""
    hellaswag = tmp_path / "hellaswag.jsonl"
    hellaswag.write_text("".join(json.dumps(row) + "\n" for row in map(hellaswag_row, range(5))))
    return replace(
        config,
        training=replace(config.training, steps=8, batch_tokens=192, micro_batch=2),
        optimizer=replace(config.optimizer, learning_rate=1e-3, min_learning_rate=1e-4),
        # Five rows of each: none divides them.
        evaluation=replace(config.evaluation, val_tokens=80, hellaswag=str(hellaswag)),
        history=HistoryConfig(moments=9),
    )


def hellaswag_row(number: int) -> dict[str, Any]:
    context = "Permission to use " * number
    endings = ["sell", "copies of", "the Software to", "and"]
    parts = {"ctx_a": context, "ctx_b": "", "ctx": context, "endings": endings}
    return {"activity_label": "Using", "label": number % 4, **parts}


def torchrun(processes: int, *args: str | Path, max_restarts: int = 0) -> subprocess.Popen[str]:
    """Start `gpt2 train` in several processes of one thread each."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    launcher.append(f"--max-restarts={max_restarts}")
    return subprocess.Popen(
        [sys.executable, *launcher, "-m", "gpt2", "train", *map(str, args)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def recipe(config: RunConfig, directory: Path) -> Path:
    path = directory / "recipe.toml"
    path.write_text(config.to_toml())
    return path


@pytest.mark.parametrize(
    ("processes", "kind", "settings"),
    [
        (2, "adamw", []),
        (3, "normuon", []),
        (2, "adamw", ["--parallel", "fsdp", "--gradient-checkpointing"]),
        (2, "normuon", ["--parallel", "fsdp"]),
    ],
    ids=str,
)
def test_several_processes_train_as_one_does(
    config: RunConfig,
    tmp_path: Path,
    assert_close: Callable[[Path, Path], None],
    processes: int,
    kind: OptimizerKind,
    settings: list[str],
) -> None:
    config = replace(config, optimizer=replace(config.optimizer, kind=kind))
    start(config, tmp_path / "one")
    args = ["--recipe", recipe(config, tmp_path), "--out", tmp_path / "several", *settings]
    several = torchrun(processes, *args)
    told, _ = several.communicate(timeout=300)
    assert several.returncode == 0, told
    assert_close(tmp_path / "one", tmp_path / "several")
    assert f"{processes} processes, each on" in (tmp_path / "several/report.md").read_text()
    assert told.count(f"{tmp_path / 'several'}\n") == 1  # the first process alone speaks
    saved = newest_checkpoint(tmp_path / "several")
    verify_checkpoint(saved)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(saved)
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        logits = GPT2.from_pretrained(saved)(ids)
        torch.testing.assert_close(theirs(ids).logits, logits, rtol=0, atol=1e-4)


def steps_shown(process: subprocess.Popen[str]) -> Iterator[int]:
    """Yield the step of each evaluation that a run tells of."""
    assert process.stdout
    for line in process.stdout:
        if match := re.match(r"step (\d+)/\d+  val", line):
            yield int(match[1])


@pytest.mark.kills
def test_a_run_of_two_stops_on_sigterm_and_goes_on_in_one_and_in_three(
    config: RunConfig, tmp_path: Path, assert_close: Callable[[Path, Path], None]
) -> None:
    config = replace(config, training=replace(config.training, steps=40))
    config = replace(config, evaluation=replace(config.evaluation, every=5))
    start(config, tmp_path / "one")
    run = tmp_path / "run"
    args = ["--recipe", recipe(config, tmp_path), "--out", run, "--parallel", "fsdp"]
    two = torchrun(2, *args)
    next(step for step in steps_shown(two) if step >= 10)
    two.send_signal(signal.SIGTERM)  # to torchrun, which hands it on
    told, _ = two.communicate(timeout=300)
    assert told.count("which is saved; go on with: gpt2 train --resume") == 1
    stopped = step_of(newest_checkpoint(run))
    assert 10 <= stopped < 40

    other = replace(config, training=replace(config.training, max_hours=1e-9))
    with pytest.raises(InterruptedRunError, match=f"after step {stopped + 1} of 40"):
        resume(run, other)
    three = torchrun(3, "--resume", run, "--max-hours", "9", "--parallel", "ddp")
    told, _ = three.communicate(timeout=300)
    assert three.returncode == 0, told
    assert_close(tmp_path / "one", run)


@pytest.mark.kills
@pytest.mark.skipif(not Path("/proc").exists(), reason="finds its children in /proc")
def test_when_a_process_dies_the_others_end_with_a_sentence_and_the_run_resumes(
    config: RunConfig, tmp_path: Path
) -> None:
    longer = replace(config, training=replace(config.training, steps=400))
    longer = replace(longer, evaluation=replace(config.evaluation, every=2))
    run = tmp_path / "run"
    several = torchrun(2, "--recipe", recipe(longer, tmp_path), "--out", run)
    next(step for step in steps_shown(several) if step >= 4)
    workers = Path(f"/proc/{several.pid}/task/{several.pid}/children").read_text().split()
    os.kill(int(workers[-1]), signal.SIGKILL)
    told, _ = several.communicate(timeout=60)
    assert several.returncode != 0
    assert re.search(r"process 0 on \S+ lost the connection to \S+ \(process 1\), so it", told)
    assert f"go on with: gpt2 train --resume {run}" in told
    saved = step_of(newest_checkpoint(run))
    assert 2 <= saved < 400

    with pytest.raises(InterruptedRunError, match=f"after step {saved + 1} of 400"):
        resume(run, replace(longer, training=replace(longer.training, max_hours=1e-9)))


@pytest.mark.kills
@pytest.mark.skipif(not Path("/proc").exists(), reason="finds its children in /proc")
def test_torchrun_restarts_a_run_of_which_a_process_has_died(
    config: RunConfig, tmp_path: Path, assert_close: Callable[[Path, Path], None]
) -> None:
    config = replace(config, training=replace(config.training, steps=40))
    config = replace(config, evaluation=replace(config.evaluation, every=5))
    start(config, tmp_path / "one")
    args = ["--recipe", recipe(config, tmp_path), "--out", tmp_path / "run", "--auto-resume"]
    several = torchrun(2, *args, max_restarts=1)
    next(step for step in steps_shown(several) if step >= 10)
    workers = Path(f"/proc/{several.pid}/task/{several.pid}/children").read_text().split()
    os.kill(int(workers[0]), signal.SIGKILL)
    told, _ = several.communicate(timeout=300)
    assert several.returncode == 0, told
    assert f"{tmp_path / 'run'} holds a run, which continues" in told
    assert_close(tmp_path / "one", tmp_path / "run")


def test_the_processes_of_a_step_must_divide_its_rows(config: RunConfig, tmp_path: Path) -> None:
    several = torchrun(
        2, "--recipe", recipe(config, tmp_path), "--batch-tokens", "160", "--micro-batch", "2"
    )
    told, _ = several.communicate(timeout=300)
    assert several.returncode == 1
    assert "multiple of micro_batch * n_positions * 2 processes = 64, got 160" in told


def test_a_process_alone_needs_no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined(ON_CPU, {}) as processes:
        assert processes == Processes(torch.device("cpu"), rank=0, world_size=1)
        assert processes.is_rank_0
        assert processes.sum(2.5) == processes.max(2.5) == 2.5
        assert processes.broadcast(7) == 7


def test_several_processes_without_a_number_each_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("LOCAL_RANK", "0")
    with (
        pytest.raises(ConfigError, match="but RANK .*must be set.* torchrun"),
        joined(ON_CPU, {}),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("WORLD_SIZE", "x", "variable WORLD_SIZE must be a whole number, 1 or more, got 'x'"),
        ("WORLD_SIZE", "0", "variable WORLD_SIZE must be a whole number, 1 or more, got '0'"),
        ("WORLD_SIZE", "", "variable WORLD_SIZE must be a whole number, 1 or more, got ''"),
        ("WORLD_SIZE", "-1", "variable WORLD_SIZE must be a whole number, 1 or more, got '-1'"),
        ("RANK", "x", "variable RANK must be a whole number, 0 or more, got 'x'"),
        ("RANK", "2", "RANK must be below WORLD_SIZE, 2, got 2"),
        ("RANK", "", "but RANK must be set"),
        ("LOCAL_RANK", "1.5", "variable LOCAL_RANK must be a whole number, 0 or more, got '1.5'"),
        ("MASTER_ADDR", None, "but MASTER_ADDR must be set"),
        ("MASTER_PORT", None, "but MASTER_PORT must be set"),
        ("MASTER_PORT", "x", "variable MASTER_PORT must be a whole number"),
        ("MASTER_PORT", "99999", "could not join the others of the 2 at 127.0.0.1:99999"),
    ],
)
def test_a_launcher_that_describes_a_process_wrongly_is_named_in_a_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str | None, expected: str
) -> None:
    monkeypatch.setattr(meeting, "LIMIT", 0.01)  # seconds in which the other could come
    right = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}
    right |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    for variable, text in (right | {name: value}).items():
        if text is None:
            monkeypatch.delenv(variable, raising=False)
        else:
            monkeypatch.setenv(variable, text)
    with pytest.raises(Gpt2Error, match=expected) as raised, joined(ON_CPU, {}):
        pass
    assert "\n" not in str(raised.value)


def test_a_wrong_number_of_processes_on_the_machine_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "x")
    with pytest.raises(ConfigError, match="variable LOCAL_WORLD_SIZE must be a whole number"):
        devices.memory(torch.device("cpu"))


def test_each_process_on_gpus_has_one_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(ConfigError, match="got at least 3 processes and 2 GPUs"):
        devices.device_of_process(torch.device("cuda"), 2)
    cpu = torch.device("cpu")
    assert devices.device_of_process(cpu, 5) == cpu


def test_shares_of_parameters_do_not_go_with_float16(model: GPT2) -> None:
    processes = Processes(torch.device("cpu"), rank=0, world_size=2)
    with pytest.raises(ConfigError, match="fsdp needs dtype bfloat16 or float32, got float16"):
        parallelize(model, "fsdp", processes, torch.float16)
