"""`gpt2 train` as a process: its signals, its terminal, and its flags."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpt2.cli.main import main
from gpt2.config import DataConfig, RunConfig, bundled_recipes
from gpt2.files.pretrained import GPT2
from gpt2.files.run_directory import (
    best_checkpoint,
    list_checkpoints,
    newest_checkpoint,
    step_of,
)
from gpt2.train.settings import sized_by_data
from llm_tokenizer import Tokenizer

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


# Flags


def run_settings(run: Path) -> RunConfig:
    return RunConfig.from_toml(run / "config.toml")


def without(flags: list[str], flag: str) -> list[str]:
    at = flags.index(flag)
    return flags[:at] + flags[at + 2 :]


def without_size(flags: list[str]) -> list[str]:
    return without(flags, "--vocab-size")


def test_the_vocabulary_of_the_data_sets_the_size_of_the_model(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *without_size(flags), "--steps", "1"]) == 0
    assert "model.vocab_size is 300, the size of the vocabulary in " in capsys.readouterr().err
    assert run_settings(tmp_path / "run").model.vocab_size == 300
    elsewhere = without(without_size(flags), "--out")
    assert main(["train", *elsewhere, "--steps", "1", "--dry-run", "--out", "x"]) == 0
    assert " 300 tokens, 16 positions" in capsys.readouterr().out


def test_the_vocabulary_of_data_in_parts_sets_the_size_of_the_model(
    flags: list[str], shards: Path, tmp_path: Path
) -> None:
    shutil.copytree(shards, tmp_path / "parts/1")
    config = RunConfig(data=DataConfig(directory=tmp_path / "parts"))
    assert sized_by_data(config).model.vocab_size == 300


@pytest.mark.parametrize("flag", ["--model.vocab-size", "--vocab-size", "--model.vocab_size"])
@pytest.mark.parametrize("equals", [True, False])
def test_a_size_that_is_set_by_a_flag_wins_over_the_data(
    flags: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    flag: str,
    equals: bool,
) -> None:
    size = [f"{flag}=384"] if equals else [flag, "384"]
    assert main(["train", *without_size(flags), *size, "--steps", "1"]) == 0
    assert run_settings(tmp_path / "run").model.vocab_size == 384
    assert "vocab_size" not in capsys.readouterr().err  # 384 is 300, padded


def test_a_size_that_is_set_by_the_recipe_wins_and_is_noted_where_it_is_far_too_large(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[model]\nvocab_size = 385\n")
    args = ["train", "--recipe", str(recipe), *without_size(flags), "--steps", "1"]
    assert main(args) == 0
    line = "the model has 385 embeddings (model.vocab_size), the vocabulary of the data 300 tokens"
    assert line in capsys.readouterr().err
    assert run_settings(tmp_path / "run").model.vocab_size == 385


def test_weights_to_begin_with_keep_their_shape(
    flags: list[str], model: GPT2, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path / "model")
    begin = ["--init-from", str(tmp_path / "model"), "--steps", "1"]
    assert main(["train", *without_size(flags), *begin]) == 0
    assert run_settings(tmp_path / "run").model.vocab_size == model.config.vocab_size


def test_without_data_the_size_is_the_default_and_a_dry_run_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sizes = "--n-layer 1 --n-embd 16 --n-head 2 --n-positions 16 --micro-batch 1 --batch-tokens 16"
    assert main(["train", *sizes.split(), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert " 50,257 tokens" in shown
    assert "data         none: " in shown
    assert " hours by " in shown
    assert not list(tmp_path.iterdir())
    assert main(["train", *sizes.split(), "--dry-run", "--hellaswag", "hub"]) == 0
    assert " hours, without HellaSwag, by " in capsys.readouterr().out


@pytest.mark.parametrize("recipe", bundled_recipes())
def test_a_low_learning_rate_alone_is_enough_for_every_recipe_without_a_minimum(
    recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[RunConfig] = []
    monkeypatch.setattr("gpt2.train.run.start", lambda config, run: started.append(config))
    assert main(["train", "--recipe", recipe, "--learning-rate", "5e-3"]) == 0
    assert started[0].optimizer.learning_rate == 5e-3
    assert started[0].optimizer.lowest_learning_rate < 5e-3


def test_a_low_learning_rate_alone_is_enough(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = without(flags, "--warmup-steps")
    args = ["train", *flags, "--learning-rate", "5e-5", "--steps", "3", "--warmup-steps", "9"]
    assert main(args) == 0
    assert run_settings(tmp_path / "run").optimizer.lowest_learning_rate == pytest.approx(5e-6)
    shown = capsys.readouterr().err
    assert "optimizer.warmup_steps, 9, and the run has 3 steps: it never reaches its peak" in shown


@pytest.mark.parametrize(
    "twice",
    [
        ["--recipe", "demo", "--recipe", "fine-tune"],
        ["--recipe=demo", "--recipe", "demo"],
        ["--resume", "a", "--resume=b"],
        ["--resume", "a", "--resume"],
        ["--model.preset", "gpt2", "--model.preset", "gpt2-xl"],
        ["--preset", "gpt2", "--model.preset=gpt2"],
    ],
    ids=str,
)
def test_a_flag_that_is_given_twice_is_wrong_usage(
    twice: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *twice]) == 2
    assert "is given twice" in capsys.readouterr().err


# What the run refuses, its dry run refuses


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (["--model.vocab-size=299"], "holds the id 299, the model has 299 embeddings"),
        (["--n-positions=4096", "--batch-tokens=8192"], "one row needs 4097 tokens, the training"),
        (["--reference=missing-model"], "missing-model"),
        (["--init-from=missing-model"], "missing-model"),
        (["--attention=manual", "--attention-blocks=7"], "blocks must be 0 to 0, got [7]"),
        (["--batch-tokens=48"], "multiple of micro_batch * n_positions"),
        (["--device=tpu"], "device must be auto or one of those here"),
    ],
    ids=str,
)
@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["run", "dry run"])
def test_what_training_refuses_its_dry_run_refuses_alike(
    flags: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    change: list[str],
    expected: str,
    dry: list[str],
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    given = {name.partition("=")[0].rpartition(".")[2].removeprefix("--") for name in change}
    kept = iter(flags)
    args = [
        part
        for flag in kept
        for part in [(flag, next(kept))]
        if flag.removeprefix("--") not in given
    ]
    assert main(["train", *(p for pair in args for p in pair), "--steps=1", *change, *dry]) in (
        1,
        2,
    )
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["run", "dry run"])
def test_data_without_one_of_the_splits_are_refused(
    flags: list[str],
    tokenizer: Tokenizer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    split: str,
    dry: list[str],
) -> None:
    data = tmp_path / "data"
    tokenizer.save(data)
    np.arange(200, dtype="<u2").tofile(data / f"{'val' if split == 'train' else 'train'}.bin")
    flags[flags.index("--data.directory") + 1] = str(data)
    assert main(["train", *flags, *dry]) == 1
    wanted = {"train": "there is no training text", "val": "no text is held out"}[split]
    assert wanted in capsys.readouterr().err


@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["run", "dry run"])
def test_a_tracker_that_is_not_installed_is_refused(
    flags: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    dry: list[str],
) -> None:
    monkeypatch.setattr("gpt2.train.tracking.find_spec", lambda name: None)
    assert main(["train", *flags, "--track", "wandb", *dry]) == 1
    assert "training.track wandb needs wandb, which is not installed" in capsys.readouterr().err


def test_damaged_data_are_refused_by_the_dry_run(
    flags: list[str], shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = Path(shutil.copytree(shards, tmp_path / "data"))
    (data / "train_000000.bin").unlink()
    flags[flags.index("--data.directory") + 1] = str(data)
    assert main(["train", *flags, "--dry-run"]) == 1
    assert "train_000000.bin" in capsys.readouterr().err


def test_a_dry_run_refuses_a_directory_that_holds_a_run_and_one_to_resume_that_holds_none(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["train", "--resume", str(run), "--dry-run"]) == 1
    assert "holds no run to resume" in capsys.readouterr().err
    assert main(["train", *flags, "--steps", "3", "--max-hours", "1e-9"]) == 0
    assert main(["train", *flags, "--dry-run"]) == 1
    assert "holds a run already" in capsys.readouterr().err
    resumed = ["train", "--resume", str(run), "--dry-run"]
    assert main(resumed) == 0
    assert main([*resumed, "--weight-decay", "0.5"]) == 1
    assert "accept that with --allow-changes optimizer.weight_decay" in capsys.readouterr().err


# One command for the first start and all others


def test_auto_resume_starts_a_run_and_continues_it_with_the_same_command(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text("[evaluation]\nevery = 2\n")
    assert main(["train", *flags, "--steps", "2"]) == 0
    source = newest_checkpoint((tmp_path / "run").rename(tmp_path / "before"))
    again = ["train", "--recipe", str(recipe), *flags, "--steps", "3", "--auto-resume"]
    again += ["--init-from", str(source), "--allow-changes", "optimizer.weight_decay"]
    assert main([*again, "--max-hours", "1e-9"]) == 0
    assert steps_saved(tmp_path / "run") == 1

    shutil.rmtree(source)  # all that is needed is in the run
    capsys.readouterr()
    recipe.write_text("[optimizer]\nbeta1 = 0.5\n")
    assert main([*again, "--weight-decay", "0.5", "--max-hours", "9"]) == 0
    shown = capsys.readouterr().err
    assert f"{tmp_path / 'run'} holds a run, which continues with its own settings" in shown
    assert "optimizer.weight_decay was 0.1, is 0.5" in shown
    assert steps_saved(tmp_path / "run") == 3
    assert main([*again, "--weight-decay", "0.5", "--max-hours", "9"]) == 0
    assert "is finished: it has taken all its 3 steps" in capsys.readouterr().err


def test_auto_resume_goes_with_out_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--resume", "runs/x", "--auto-resume"]) == 2
    assert "--auto-resume goes with --out, which names the run" in capsys.readouterr().err


# A finished run


def test_a_finished_run_is_resumed_without_a_change_from_anywhere(
    flags: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert main(["train", *flags, "--steps", "2"]) == 0
    run = tmp_path / "run"
    (run / "report.md").write_text("with a table of one's own")
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    moved = ["--data.directory", "gone"]
    assert main(["train", "--resume", "run", "--evaluation.every", "1", *moved]) == 0
    assert "run is finished: it has taken all its 2 steps" in capsys.readouterr().err
    assert main(["train", "--resume", "run", "--dry-run", *moved]) == 0
    assert (run / "report.md").read_text() == "with a table of one's own"


# The best checkpoint by its name


def test_the_best_checkpoint_opens_by_its_name(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *flags, "--steps", "3", "--evaluation.every", "1"]) == 0
    best = f"{tmp_path / 'run'}/best"
    assert main(["generate", "of", "--model", best, "--max-new-tokens", "2"]) == 0
    other = ["--out", str(tmp_path / "other"), "--init-from", best, "--reference", best]
    assert main(["train", *flags[:2], *flags[4:], *other, "--steps", "1"]) == 0
    saved = run_settings(tmp_path / "other")
    assert saved.training.init_from == str(best_checkpoint(tmp_path / "run"))
    assert f"| {best} |" in (tmp_path / "other/report.md").read_text(encoding="utf-8")


def test_a_best_checkpoint_that_was_not_kept_is_named_in_a_line(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *flags, "--steps", "3"]) == 0
    path = newest_checkpoint(tmp_path / "run") / "training_state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"best_step": 1}))
    capsys.readouterr()
    assert main(["generate", "of", "--model", f"{tmp_path / 'run'}/best"]) == 1
    shown = capsys.readouterr().err
    assert "of which it keeps no checkpoint (checkpoint.keep_best)" in shown
    assert shown.count("\n") == 1
