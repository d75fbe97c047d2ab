"""`gpt2 train` as a process: its signals, its terminal, and its flags."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gpt2.files.run_directory import list_checkpoints, newest_checkpoint, step_of

SIZES = "--n-layer 1 --n-embd 16 --n-head 2 --n-positions 16 --vocab-size 300 --dtype float32"
BATCH = "--micro-batch 2 --batch-tokens 32 --warmup-steps 1 --val-tokens 32"
FOREVER = 10**6  # steps

on_unix = pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal or terminal")


@pytest.fixture
def flags(shards: Path, tmp_path: Path) -> list[str]:
    """Flags of a tiny run in the directory `run`."""
    directories = ["--data.directory", str(shards), "--out", str(tmp_path / "run")]
    return [*directories, *SIZES.split(), *BATCH.split()]


def train(flags: Sequence[str], steps: int, **options: Any) -> subprocess.Popen[str]:
    """Start a run as a process of its own."""
    command = [sys.executable, "-m", "gpt2", "train", *flags, "--steps", str(steps)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | options.pop("env", {})
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "text": True}
    return subprocess.Popen(command, env=environment, **quiet | options)


def wait_for_step(process: subprocess.Popen[str]) -> None:
    """Return when the run has shown a step."""
    assert process.stderr
    assert any(line.startswith("step ") for line in process.stderr)


def steps_saved(run: Path) -> int:
    return step_of(newest_checkpoint(run))


# A stderr that breaks


@on_unix
@pytest.mark.parametrize("stderr", ["closed", "full", "read by nobody"])
def test_a_run_goes_on_where_nothing_can_be_written_to_stderr(
    flags: list[str], tmp_path: Path, stderr: str
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    if stderr == "full" and Path("/dev/full").exists():
        os.close(writing)
        writing = os.open("/dev/full", os.O_WRONLY)
    closed = {"preexec_fn": partial(os.close, 2)}
    process = train(flags, 6, **(closed if stderr == "closed" else {"stderr": writing}))
    os.close(writing)
    process.wait()
    assert steps_saved(tmp_path / "run") == 6
    assert (tmp_path / "run/report.md").exists()


@on_unix
def test_a_run_goes_on_when_the_reader_of_its_stderr_leaves(
    flags: list[str], tmp_path: Path
) -> None:
    process = train([*flags, "--evaluation.every", "10"], 60, stderr=subprocess.PIPE)
    wait_for_step(process)
    assert process.stderr
    process.stderr.close()
    process.wait()
    assert steps_saved(tmp_path / "run") == 60


# A terminal


def terminal_of(process: subprocess.Popen[str], ours: int) -> str:
    """Return all that a process writes to its terminal, of which we hold the other end."""
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # EIO: the process has ended
            part = b""
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait() == 0, shown
    return shown.decode()


@on_unix
@pytest.mark.parametrize("environment", [{}, {"FORCE_COLOR": "1"}, {"NO_COLOR": "1"}], ids=str)
def test_on_a_terminal_every_evaluation_leaves_a_line_the_last_one_too(
    flags: list[str], environment: dict[str, str]
) -> None:
    import pty

    ours, its = pty.openpty()
    environment |= {"TERM": "xterm", "COLUMNS": "100"}
    process = train([*flags, "--evaluation.every", "4"], 10, stderr=its, env=environment)
    os.close(its)
    shown = terminal_of(process, ours)
    for step in (4, 8, 10):
        assert f"step {step}/10  val " in shown
    assert "\x1b[?25h" in shown  # the cursor is back


@on_unix
def test_off_a_terminal_there_is_no_bar_whatever_force_color_asks_for(flags: list[str]) -> None:
    process = train(flags, 3, stderr=subprocess.PIPE, env={"FORCE_COLOR": "1"})
    _, shown = process.communicate()
    assert "step 3/3  val " in shown
    assert "\x1b" not in shown


@on_unix
def test_a_run_goes_on_when_its_terminal_goes_away(flags: list[str], tmp_path: Path) -> None:
    import pty

    ours, its = pty.openpty()
    process = train([*flags, "--evaluation.every", "10"], 60, stderr=its)
    os.close(its)
    shown = b""
    while b"val" not in shown:
        shown += os.read(ours, 4096)
    os.close(ours)
    process.wait()
    assert steps_saved(tmp_path / "run") == 60


# Signals


@on_unix
@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        ([signal.SIGHUP], 129),
        ([signal.SIGHUP, signal.SIGHUP], 129),
        ([signal.SIGTERM, signal.SIGHUP], 143),
        ([signal.SIGHUP, signal.SIGTERM], 143),
    ]
    if sys.platform != "win32"
    else [],
    ids=str,
)
def test_a_hangup_saves_the_run_however_many_come(
    flags: list[str], tmp_path: Path, numbers: list[int], code: int
) -> None:
    process = train(flags, FOREVER, stderr=subprocess.PIPE)
    wait_for_step(process)
    for number in numbers:
        process.send_signal(number)
    _, shown = process.communicate()
    assert process.returncode == code
    assert "which is saved; go on with: gpt2 train --resume" in shown
    assert steps_saved(tmp_path / "run") >= 1


@on_unix
def test_a_closed_terminal_saves_the_run(flags: list[str], tmp_path: Path) -> None:
    import pty

    process_id, ours = pty.fork()
    if process_id == 0:
        command = [sys.executable, "-m", "gpt2", "train", *flags, "--steps", str(FOREVER)]
        os.execv(sys.executable, command)
    shown = b""
    while b"loss" not in shown:
        shown += os.read(ours, 4096)
    os.close(ours)  # the terminal sends SIGHUP, and every write to it fails
    os.waitpid(process_id, 0)
    assert steps_saved(tmp_path / "run") >= 1
    assert not list((tmp_path / "run/checkpoints").glob("*.partial"))


@on_unix
def test_under_nohup_a_run_goes_on_after_a_hangup(flags: list[str], tmp_path: Path) -> None:
    ignore = partial(signal.signal, signal.SIGHUP, signal.SIG_IGN)
    process = train(
        [*flags, "--evaluation.every", "1"], FOREVER, stderr=subprocess.PIPE, preexec_fn=ignore
    )
    wait_for_step(process)
    process.send_signal(signal.SIGHUP)
    for _ in range(3):
        wait_for_step(process)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 143
    assert list_checkpoints(tmp_path / "run")
