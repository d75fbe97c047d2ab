"""`gpt2 eval perplexity`: of files, pipes, stdin and prepared data."""

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpt2.cli.main import main
from gpt2.config import PrepareConfig
from gpt2.data.shard_folder import open_shards
from gpt2.evaluate.baselines import compare
from gpt2.files.pretrained import GPT2
from gpt2.prepare.pipeline import prepare
from gpt2.prepare.sources import in_memory
from llm_tokenizer import Tokenizer

TEXT = "Permission is granted. 日本\r\n" * 20


@pytest.fixture
def stored(model: GPT2, tmp_path: Path) -> str:
    model.save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def figures(stored: str, capsys: pytest.CaptureFixture[str]) -> Callable[[str], dict[str, Any]]:
    def measure(data: str) -> dict[str, Any]:
        assert main(["eval", "perplexity", "--model", stored, "--json", "--data", data]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return measure


def test_eval_perplexity_prints_every_convention(
    model: GPT2, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.save_pretrained(tmp_path)
    (tmp_path / "text.txt").write_text("Permission is granted.", encoding="utf-8")
    command = ["eval", "perplexity", "--model", str(tmp_path), "--data", str(tmp_path / "text.txt")]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    names = {line.split()[0] for line in lines if not line.startswith("#")}
    assert main([*command, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert names == {name for name, value in figures.items() if isinstance(value, int | float)} - {
        "seconds"
    }
    assert {"nats_per_token", "token_perplexity", "bits_per_byte", "word_perplexity"} < names
    assert figures["bytes"] == 22
    assert figures["bits_per_byte"] == pytest.approx(figures["bits_per_character"])


def unhurried(figures: dict[str, Any]) -> dict[str, Any]:
    """Return figures without the time and the name of the file."""
    return {name: value for name, value in figures.items() if name not in ("seconds", "data")}


@pytest.mark.parametrize("source", ["stdin", "pipe", "/dev/stdin", "substitution"])
def test_a_text_that_is_no_regular_file_has_the_same_figures(
    source: str,
    figures: Callable[[str], dict[str, Any]],
    stored: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "text.txt"
    file.write_bytes(TEXT.encode())
    expected = unhurried(figures(str(file)))
    assert expected["bytes"] == len(TEXT.encode())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-").write_text("a file of this name is not taken for stdin")
    if source == "stdin":
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TEXT.encode())))
        assert unhurried(figures("-")) == expected
    elif source == "pipe":
        if sys.platform == "win32":
            pytest.skip("no named pipes there")
        os.mkfifo(tmp_path / "pipe")
        thread = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[TEXT.encode()])
        thread.start()
        assert unhurried(figures(str(tmp_path / "pipe"))) == expected
        thread.join()
    else:
        if not Path("/dev/stdin").exists():
            pytest.skip("no /dev/stdin here")
        gpt2 = f"{sys.executable} -m gpt2 eval perplexity --json --model {stored} --data"
        script = f"cat {file} | {gpt2} /dev/stdin"
        if source == "substitution":
            script = f"{gpt2} <(cat {file})"
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
        assert unhurried(json.loads(done.stdout)) == expected


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "stdin is empty: wanted some text"),
        (b" \n", "stdin is empty: wanted some text"),
        (b"a\0b", "stdin must be text: it has a NUL"),
        (b"\xff\xfe", "stdin must be UTF-8 text: byte 0 is not"),
        (None, "cannot read stdin: it is closed"),
    ],
)
def test_a_stdin_that_is_no_text_is_one_line(
    content: bytes | None,
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stdin = None if content is None else io.TextIOWrapper(io.BytesIO(content))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert main(["eval", "perplexity", "--model", "missing/model", "--data", "-"]) == 1
    captured = capsys.readouterr()
    assert told in captured.err
    assert captured.err.count("\n") == 1


def test_prepared_data_are_measured_on_their_held_out_tokens(
    figures: Callable[[str], dict[str, Any]], model: GPT2, shards: Path
) -> None:
    found = figures(str(shards))
    data = open_shards(shards)
    expected = compare(model, data, dtype=model.wte.weight.dtype)
    assert (found["tokens"], found["bytes"]) == (expected.tokens, expected.bytes)
    assert found["nats_per_token"] == pytest.approx(expected.model_nats, rel=1e-6)
    assert found["tokens"] == sum(map(len, data.val)) - 1


def test_prepared_data_of_another_vocabulary_are_refused(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: GPT2
) -> None:
    other = GPT2(model.config, tokenizer=Tokenizer.train(["Permission " * 9, "is"], 262))
    other.save_pretrained(tmp_path / "other")
    args = ["eval", "perplexity", "--model", str(tmp_path / "other"), "--data"]
    assert main([*args, str(shards)]) == 1
    assert "the data must have the vocabulary of the model" in capsys.readouterr().err
    assert main([*args, str(tmp_path)]) == 1
    assert "gpt2 prepare" in capsys.readouterr().err
    source, settings = in_memory("a text", [TEXT, TEXT]), PrepareConfig(hold_out=0)
    prepare(source, model.tokenizer, tmp_path / "train", settings)
    model.save_pretrained(tmp_path / "same")
    args[3] = str(tmp_path / "same")
    assert main([*args, str(tmp_path / "train")]) == 1
    assert "held-out tokens" in capsys.readouterr().err


def test_progress_is_shown_on_stderr(
    stored: str, shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "perplexity", "--model", stored, "--data", str(shards)]) == 0
    captured = capsys.readouterr()
    first, *_, last = captured.err.splitlines()
    total = sum(map(len, open_shards(shards).val)) - 1
    assert f"24 of {total:,} tokens" in first
    assert last.startswith("100%")
    assert f"{total:,} of {total:,} tokens" in last
    assert "tokens" in captured.out


@pytest.mark.parametrize("is_slow", [True, False])
def test_slow_tokenizing_is_explained(
    is_slow: bool,
    stored: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Timer:
        def __init__(self, seconds: float, function: Callable[..., None], args: list[str]) -> None:
            self.call = lambda: function(*args)

        def start(self) -> None:
            if is_slow:
                self.call()

        def cancel(self) -> None:
            self.call = lambda: None

    monkeypatch.setattr(threading, "Timer", Timer)
    (tmp_path / "text.txt").write_text("Permission")
    args = ["--model", stored, "--data", str(tmp_path / "text.txt")]
    assert main(["eval", "perplexity", *args]) == 0
    assert ("the tokenizer is compiled" in capsys.readouterr().err) == is_slow


def test_a_model_whose_loss_is_not_finite_is_one_line(
    model: GPT2, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.wte.weight.data[:] = float("nan")
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "text.txt").write_text("Permission")
    args = ["--model", str(tmp_path / "model"), "--data", str(tmp_path / "text.txt"), "--json"]
    assert main(["eval", "perplexity", *args]) == 1
    assert "the model's loss must be finite" in capsys.readouterr().err


def test_a_figure_beyond_the_range_of_a_float_is_null(
    figures: Callable[[str], dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text("Permission" * 300)  # one word
    assert figures(str(tmp_path / "text.txt"))["word_perplexity"] is None


def test_a_vocabulary_with_gaps_is_measured(
    gapped_model: GPT2, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gapped_model.save_pretrained(tmp_path / "model")
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    args = ["--model", str(tmp_path / "model"), "--data", str(tmp_path / "text.txt"), "--json"]
    assert main(["eval", "perplexity", *args]) == 0
    assert json.loads(capsys.readouterr().out)["bytes"] == len(TEXT.encode())
