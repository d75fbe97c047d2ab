"""`gpt2 watch`: its address, the file that it writes at the end, and what it refuses."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gpt2.cli.main import main
from gpt2.config import RunConfig, TrainingConfig

pytest.importorskip("fastapi", reason="the extra [serve] is not installed")


@pytest.fixture
def ended_run(tmp_path: Path) -> Path:
    """A run of two steps, with its report."""
    run = tmp_path / "run"
    run.mkdir()
    config = RunConfig(training=TrainingConfig(steps=2))
    (run / "config.toml").write_text(config.to_toml())
    rows = [{"step": 1, "loss": 5.0}, {"step": 2, "loss": 4.0}, {"step": 2, "val_loss": 4.5}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (run / "report.md").write_text("# Training run\n")
    return run


@pytest.fixture
def ctrl_c_when_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send Ctrl-C to this process as soon as the server is ready."""

    def announce(url: str) -> None:
        print(url)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("gpt2.cli.watch.announce", announce)


def test_the_page_of_runs_that_have_ended_is_written_and_the_command_ends(
    ended_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "page.html"
    assert main(["watch", str(ended_run), "--port", "0", "--out", str(out)]) == 0
    url, path = capsys.readouterr().out.splitlines()
    assert url.startswith("http://127.0.0.1:")
    assert path == str(out)
    page = out.read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert '"held_out":[{"step":2,"val_loss":4.5}]' in page


def test_a_file_that_is_there_is_replaced_if_asked_only(
    ended_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page.html"
    out.write_text("mine")
    command = ["watch", str(ended_run), "--port", "0", "--out", str(out)]
    assert main(command) == 1
    assert "is there already; choose another --out, or replace it" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert main([*command, "--force"]) == 0
    assert out.read_text() != "mine"


@pytest.mark.usefixtures("ctrl_c_when_ready")
def test_at_ctrl_c_the_page_of_a_run_that_trains_is_written(
    ended_run: Path, tmp_path: Path
) -> None:
    (ended_run / "report.md").unlink()
    out = tmp_path / "page.html"
    assert main(["watch", str(ended_run), "--port", "0", "--out", str(out)]) == 0
    assert '"phase":"training"' in out.read_text(encoding="utf-8")


@pytest.mark.usefixtures("ctrl_c_when_ready")
def test_without_a_file_to_write_it_serves_until_ctrl_c(
    ended_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted(ended_run.iterdir())
    assert main(["watch", str(ended_run), "--port", "0"]) == 0
    assert capsys.readouterr().out.startswith("http://")
    assert sorted(ended_run.iterdir()) == files


@pytest.mark.usefixtures("ctrl_c_when_ready")
def test_a_run_that_is_not_there_yet_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["watch", str(tmp_path / "later"), "--port", "0"]) == 0
    assert f"{tmp_path / 'later'} is not there yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        ([], "gpt2 watch takes run directories"),
        (["{file}"], "a run must be a directory"),
        (["{run}", "--host", "0.0.0.0"], "unless there is an API key"),
        (["{run}", "--out", "{run}"], "this one is a directory"),
        (["{run}", "--port", "70000"], "port must be 0 to 65535"),
    ],
    ids=str,
)
def test_a_mistake_is_named(
    flags: list[str], error: str, ended_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"run": ended_run, "file": ended_run / "config.toml"}
    assert main(["watch", *(flag.format(**names) for flag in flags)]) != 0
    printed = capsys.readouterr()
    assert error in printed.err
    assert printed.out == ""


def test_the_key_may_come_from_the_environment(
    ended_run: Path, monkeypatch: pytest.MonkeyPatch, ctrl_c_when_ready: Callable[[], None]
) -> None:
    monkeypatch.setenv("GPT2_API_KEY", "secret")
    assert main(["watch", str(ended_run), "--port", "0", "--host", "0.0.0.0"]) == 0


def test_it_starts_without_torch() -> None:
    program = "import gpt2.cli.watch, gpt2.serve.watch.server, sys; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
