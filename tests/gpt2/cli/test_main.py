import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from gpt2.cli.main import main
from gpt2.cli.verbs import VERBS
from gpt2.config import bundled_recipes
from gpt2.files.pretrained import GPT2


def failure(args: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Run a command that must fail; return its exit code and the one line it prints."""
    code = main(args)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1, captured.err
    return code, captured.err


def printed_without_torch(*args: str) -> str:
    """Run a command that must import neither torch nor numpy; return what it prints."""
    code = (
        f"import sys; from gpt2.cli.main import main; main({args}); "
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_help_names_every_verb_and_needs_no_torch() -> None:
    told = printed_without_torch("--help")
    for verb in VERBS:
        assert f"  {verb} " in told


def test_the_version_is_that_of_the_distribution_and_needs_no_torch() -> None:
    assert (
        printed_without_torch("--version") == f"gpt2-from-scratch {version('gpt2-from-scratch')}\n"
    )


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_defaults(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert f"usage: gpt2 {verb}" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["positions", "weights", "attention", "loss"])
def test_every_plot_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", name, "--help"]) == 0
    assert "Image to write" in capsys.readouterr().out


def test_the_help_of_train_names_the_bundled_recipes_without_torch() -> None:
    told = printed_without_torch("train", "--help")
    for recipe in bundled_recipes():
        assert recipe in told


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["fly"], "unknown verb 'fly'; known: demo, prepare"),
        (["train", "--training.stepz", "3"], "Unrecognized options: --training.stepz"),
        (["train", "--training.steps", "x"], "Error parsing --training.steps"),
        (["train", "--training.steps", "0"], "training.steps must be at least 1, got 0"),
        (["generate", "a", "--temperature", "-1"], "temperature must be at least 0, got -1.0"),
        (["eval", "fame"], "gpt2 eval takes one of perplexity, hellaswag,"),
        (
            ["prepare", "--out", "x"],
            "wanted a source, such as fineweb-edu, stdlib-docs or files, and --out DIR",
        ),
        (["prepare", ".", "--out", "./x"], "--out must lie outside the source ., got x"),
        (["prepare", "a.txt", "--out", "x", "--part", "03/16"], "part must be a number and how"),
        (["prepare", "a.txt", "--out", "x", "--hold-out", "1"], "hold_out must be 0, or at least"),
        (["train", "--model.n-embd", "10"], "n_embd must be a multiple of n_head"),
        (["bench", "attention", "--lengths", "8,x"], "lengths must be whole numbers separated by"),
        (["bench", "attention", "--rounds", "0"], "rows and rounds must be at least 1"),
        (["bench", "generate", "--batches", "0"], "batches must be whole numbers from 1 on"),
        (["bench", "generate", "--new-tokens", "1"], "at least 1 and new-tokens 2, got 32, 3"),
        (
            ["export", "--out", "x", "--format", "onnx"],
            "invalid choice 'onnx' for argument '--format'",
        ),
        (["plot"], "gpt2 plot takes one of positions, weights, attention, tokens, next, lens, "),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    args: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, line = failure(args, capsys)
    assert code == 2
    assert told in line


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["train", "--recipe", "missing.toml"], "no recipe 'missing.toml'; give the path"),
        (["train", "--recipe", "dem"], "bundled recipe: demo, fine-tune, gpt2-124m-fineweb-edu"),
        (["train", "--resume", "missing"], "missing holds no run to resume"),
        (["train", "--data.directory", "missing"], "make them with: gpt2 prepare SOURCE"),
        (["eval", "perplexity", "--data", "missing.txt"], "cannot read missing.txt: No such file"),
        (["prepare", "missing.txt", "--out", "x"], "cannot read missing.txt"),
        (["generate", "a", "--model", "mis sing"], "wanted a local directory or a name"),
        (["plot", "loss", "missing"], "missing holds no metrics.jsonl"),
        (["demo", "--recipe", "missing.toml"], "there is no recipe 'missing.toml'"),
        (["train", "--processor", "tpu"], "Unrecognized options"),
        (["train", "--device", "tpu"], "device must be auto or one of those here"),
        (["plot", "positions", "--seed", "-1"], "seed must be at least 0"),
        (["generate", "a", "--device", "cpu:x"], "a name such as cpu or cuda:0"),
    ],
)
def test_a_failure_is_one_line(
    args: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, line = failure(args, capsys)
    assert code in (1, 2)
    assert told in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "empty"), (b"\x89PNG\r\n\x1a\n", "must be UTF-8 text"), (b"a\0", "is NUL")],
)
def test_a_file_that_is_no_text_is_one_line(
    content: bytes, told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    for args in (["eval", "perplexity", "--data"], ["prepare", "--out", str(tmp_path / "x")]):
        code, line = failure([*args, str(path)], capsys)
        assert code == 1
        assert told in line


def test_exhausted_memory_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*args: object, **options: object) -> None:
        torch.empty(2**60)  # torch raises RuntimeError

    monkeypatch.setattr(GPT2, "from_pretrained", too_large)
    code, line = failure(["generate", "a"], capsys)
    assert code == 1
    assert "memory" in line.lower()


def test_characters_that_the_console_lacks_are_question_marks(model: GPT2, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    args = [sys.executable, "-m", "gpt2", "generate", "日", "--model", str(tmp_path)]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(args, env=environment, capture_output=True, check=True)
    assert done.stdout.startswith(b"?")


def test_verbose_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--verbose", "train", "--resume", "missing"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_stops_reading_is_no_failure_to_shout_about(
    model: GPT2, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path)
    reading, writing = os.pipe()
    os.close(reading)
    args = [sys.executable, "-m", "gpt2", "generate", "a", "--model", str(tmp_path)]
    args += ["--attention", "manual"]  # which needs no pass to be compiled
    done = subprocess.run(args, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert done.stderr == ""


def test_a_preparation_that_is_interrupted_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    codes: list[int] = []
    monkeypatch.setattr("gpt2.prepare.pipeline.prepare", interrupted)
    monkeypatch.setattr("os._exit", codes.append)
    (tmp_path / "a.txt").write_text("text")
    main(["prepare", str(tmp_path / "a.txt"), "--out", str(tmp_path / "out")])
    assert codes == [130]
    assert "the same command without --force continues from here" in capsys.readouterr().err


def test_verify_tells_what_is_damaged(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prepare", "--verify", str(shards)]) == 0
    assert "is complete and as it was written" in capsys.readouterr().out
    copied = Path(shutil.copytree(shards, tmp_path / "copy"))
    (copied / "val_000000.bin").unlink()
    code, line = failure(["prepare", "--verify", str(copied)], capsys)
    assert (code, "val_000000.bin is missing" in line) == (1, True)


def test_help_is_a_verb_too(capsys: pytest.CaptureFixture[str]) -> None:
    for by_verb, by_flag in (
        (["help"], ["--help"]),
        (["help", "generate"], ["generate", "--help"]),
        (["help", "plot", "loss"], ["plot", "loss", "--help"]),
    ):
        assert main(by_verb) == 0
        printed = capsys.readouterr().out
        assert main(by_flag) == 0
        assert printed == capsys.readouterr().out
    assert main(["help", "fly"]) == 2
    assert "unknown verb 'fly'" in capsys.readouterr().err


ENDING = """
import atexit
from gpt2.cli import main

class Torn:
    def __del__(self):
        print("torn down")

torn = Torn()
atexit.register(print, "at exit")
main.main = lambda: print("done") or 3
main.program()
"""


def test_one_of_several_ranks_ends_without_the_teardown_that_threads_of_gloo_abort() -> None:
    def printed(world_size: str) -> list[str]:
        environment = os.environ | {"WORLD_SIZE": world_size}
        command = [sys.executable, "-c", ENDING]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 3, done.stderr
        return done.stdout.splitlines()

    assert printed("2") == ["done", "at exit"]
    assert printed("1") == ["done", "at exit", "torn down"]
