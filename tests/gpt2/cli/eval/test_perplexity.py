"""`gpt2 eval perplexity`: of files, pipes, stdin and prepared data."""

import io
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from gpt2.cli.main import main
from gpt2.config import PrepareConfig
from gpt2.data.shard_folder import open_shards
from gpt2.evaluate.baselines import compare
from gpt2.evaluate.packing import Question
from gpt2.evaluate.perplexity import token_nats
from gpt2.evaluate.scoring import Scorer
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
def figures(stored: str, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    def measure(*data: str) -> dict[str, Any]:
        assert main(["eval", "perplexity", "--model", stored, "--json", "--data", *data]) == 0
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
    figures: Callable[..., dict[str, Any]],
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
    figures: Callable[..., dict[str, Any]], model: GPT2, shards: Path
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
    figures: Callable[..., dict[str, Any]], tmp_path: Path
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


def test_rows_and_several_files_are_texts_by_themselves(
    figures: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = ["Permission is granted", "to any person", "日本"]
    (tmp_path / "rows.jsonl").write_text(
        "\n".join(json.dumps({"body": text}) for text in texts), encoding="utf-8"
    )
    pq.write_table(pa.table({"body": texts}), tmp_path / "rows.parquet")
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.txt").write_text(text, encoding="utf-8")
    apart = figures(*(str(tmp_path / f"{number}.txt") for number in range(3)))
    assert (apart["texts"], apart["bytes"]) == (3, 40)
    for name in ("rows.jsonl", "rows.parquet"):
        rows = figures(str(tmp_path / name), "--text-column", "body")
        assert rows["nats_per_token"] == pytest.approx(apart["nats_per_token"], rel=1e-6)
        assert rows["standard_errors"]["nats_per_token"] > 0


def test_token_shards_are_read_as_one_text(
    figures: Callable[..., dict[str, Any]], shards: Path
) -> None:
    [shard] = shards.glob("val*.bin")
    found, held_out = figures(str(shard)), figures(str(shards))
    assert found["nats_per_token"] == held_out["nats_per_token"]
    assert found["data"][0][1] != ""


def test_a_test_set_of_the_paper_has_its_numbers_beside_it(
    stored: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "wiki.test.tokens").write_text(
        " = A = \n \n It is @-@ so . \n = B = \n \n x y \n", encoding="utf-8"
    )
    args = ["--model", stored, "--data", str(tmp_path / "wiki.test.tokens")]
    assert main(["eval", "perplexity", "--dataset", "wikitext103", *args]) == 0
    lines = capsys.readouterr().out.splitlines()
    [header] = [line for line in lines if "GPT-2 124M" in line]
    assert header.split("  ")[-1].strip() == "GPT-2 1558M"
    [words] = [line for line in lines if line.startswith("word_perplexity")]
    assert words.split()[-4:] == ["37.5000", "26.3700", "22.0500", "17.4800"]
    assert ["texts", "2"] in [line.split() for line in lines]


def test_the_last_word_of_a_passage_is_scored_with_lambada(
    figures: Callable[..., dict[str, Any]], model: GPT2, tmp_path: Path
) -> None:
    (tmp_path / "lambada.jsonl").write_text('{"text": "Permission is\\nhereby granted"}\n')
    found = figures(str(tmp_path / "lambada.jsonl"), "--dataset", "lambada")
    given, word = (
        model.require_tokenizer().encode(t) for t in ("Permission is\nhereby", " granted")
    )
    logits = model(torch.tensor([[*given, *word]]))[0, -len(word) - 1 : -1]
    nats = F.cross_entropy(logits, torch.tensor(word), reduction="sum").item()
    assert found["word_perplexity"] == pytest.approx(math.exp(nats), rel=1e-4)
    assert (found["words"], found["tokens"]) == (1, len(word))
    assert not any("<|endoftext|>" in note for note in found["notes"])  # the passage comes first


@pytest.mark.parametrize("stride", ["1", "24"])
def test_the_stride_decides_what_a_window_scores(
    stride: str, figures: Callable[..., dict[str, Any]], model: GPT2, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    found = figures(str(tmp_path / "text.txt"), "--stride", stride)
    ids = [299, *model.require_tokenizer().encode(TEXT)]
    expected = token_nats(Scorer(model), ids, stride=int(stride)).mean()
    assert found["nats_per_token"] == pytest.approx(expected, rel=1e-5)


def test_a_file_that_is_named_twice_is_read_once(
    figures: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "b.txt").write_text(TEXT, encoding="utf-8")
    found = figures(str(tmp_path / "b.txt"), str(tmp_path / "*.txt"))
    assert found["texts"] == 2
    assert [Path(name).name for name, _ in found["data"]] == ["b.txt", "a.txt"]


def test_the_name_of_a_file_may_be_no_utf_8(
    figures: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    path = tmp_path / "\udcff.txt"
    try:
        path.write_text(TEXT, encoding="utf-8")
    except OSError:
        pytest.skip("the file system takes no such name")
    assert figures(str(path))["texts"] == 1


def test_a_model_directory_may_have_a_link_to_nothing(
    figures: Callable[..., dict[str, Any]], stored: str, tmp_path: Path
) -> None:
    (Path(stored) / "notes").symlink_to(tmp_path / "missing")
    (tmp_path / "a.txt").write_text(TEXT, encoding="utf-8")
    assert figures(str(tmp_path / "a.txt"))["texts"] == 1


def test_an_interrupted_evaluation_goes_on_where_it_was(
    stored: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    args = ["eval", "perplexity", "--model", stored, "--data", str(tmp_path / "text.txt"), "--json"]
    assert main(args) == 0
    expected = unhurried(json.loads(capsys.readouterr().out))

    def stopped(scorer: Scorer, questions: Iterable[Question]) -> Iterator[Any]:
        yield from islice(score(scorer, questions), 3)
        raise KeyboardInterrupt

    score = Scorer.score
    with monkeypatch.context() as patch:
        patch.setattr(Scorer, "score", stopped)
        assert main(args) == 130
    assert "3 are done: the same command with --resume goes on" in capsys.readouterr().err
    assert main([*args, "--stride", "5", "--resume"]) == 0  # another evaluation
    assert "going on after 0 that" in capsys.readouterr().err
    assert main([*args, "--resume"]) == 0
    captured = capsys.readouterr()
    assert "going on after 3 that were done before" in captured.err
    found = unhurried(json.loads(captured.out))
    assert found["nats_per_token"] == pytest.approx(expected["nats_per_token"], rel=1e-6)
    assert found["tokens"] == expected["tokens"]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ([], "the options --data or --dataset are required"),
        (["--data", "x.txt", "--memory", "0"], "memory must be above 0 GB, got 0.0"),
        (["--data", "x.txt", "--dataset", "c4"], "c4"),
        (["--dataset", "enwik8"], "the data must be given: name a file"),
        (["--data", "TEXT", "--stride", "25"], "stride must be 1 to 24"),
        (["--data", "TEXT", "--memory", "0.001"], "memory must be at least 0.07 GB"),
        (["--data", "ROWS"], "ROWS, line 2 must be a JSON object"),
        (["--data", "TEXTS", "--text-column", "b"], "line 1 must have the key 'b', it has text"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    args: list[str],
    told: str,
    stored: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = {"TEXT": "text.txt", "ROWS": "rows.jsonl", "TEXTS": "texts.jsonl"}
    files = {key: tmp_path / name for key, name in names.items()}
    files["TEXTS"].write_text('{"text": "a"}\n', encoding="utf-8")
    files["TEXT"].write_text(TEXT, encoding="utf-8")
    files["ROWS"].write_text('{"text": "a"}\n[1]\n', encoding="utf-8")
    given = [str(files.get(arg, arg)) for arg in args]
    assert main(["eval", "perplexity", "--model", stored, *given]) != 0
    error = capsys.readouterr().err
    assert told.replace("ROWS", str(files["ROWS"])) in error
    assert error.count("\n") == 1
