"""`llm-tokenizer train`: what it writes, and what it refuses to replace."""

import sys
from pathlib import Path

import pytest

from llm_tokenizer import Tokenizer
from llm_tokenizer.cli import main

from .test_cli import read_from

TEXT = "banana bandana " * 20


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def train(text: Path | str, out: Path | str, *flags: str) -> int:
    return main(["train", str(text), "--vocab-size", "262", "--out", str(out), *flags])


@pytest.fixture
def no_learning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a vocabulary is learned: what is refused is refused before."""

    def learn(*_: object, **__: object) -> None:
        raise AssertionError("learned before --out was checked")

    monkeypatch.setattr(Tokenizer, "train", learn)


def content_of(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.mark.parametrize(
    "name", ["vocab.json", "merges.txt", "added_tokens.json", "tokenizer.json"]
)
@pytest.mark.usefixtures("no_learning")
def test_a_vocabulary_that_is_there_is_kept_and_force_is_named(
    text: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_bytes(b"{}")
    before = content_of(tmp_path)
    assert train(text, out) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert name in error
    assert "--force" in error
    assert content_of(tmp_path) == before


@pytest.mark.parametrize("out", ["x.json", "x.tiktoken", "X.JSON"])
@pytest.mark.usefixtures("no_learning")
def test_a_file_that_is_there_is_kept(
    text: Path, tmp_path: Path, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / out).write_bytes(b"kept")
    assert train(text, tmp_path / out) == 1
    assert "--force" in capsys.readouterr().err
    assert (tmp_path / out).read_bytes() == b"kept"


@pytest.mark.parametrize(
    "name", ["manifest.json", "train_000000.bin", "edu_train_000001.npy", "unfinished/plan.json"]
)
@pytest.mark.parametrize("out", ["data", "data/tokenizer.json"])
@pytest.mark.usefixtures("no_learning")
def test_prepared_data_is_left_alone(
    text: Path, tmp_path: Path, name: str, out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data" / name).parent.mkdir(parents=True)
    (tmp_path / "data" / name).write_bytes(b"x")
    before = content_of(tmp_path)
    assert train(text, tmp_path / out) == 1
    error = capsys.readouterr().err
    assert "prepared data" in error
    assert "--force" in error
    assert content_of(tmp_path) == before


@pytest.mark.parametrize(
    "name", ["config.toml", "checkpoints/step_00000001", "config.json", "step_00000001"]
)
@pytest.mark.usefixtures("no_learning")
def test_a_model_and_a_run_are_left_alone(
    text: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run" / name).parent.mkdir(parents=True)
    (tmp_path / "run" / name).write_bytes(b"{}")
    before = content_of(tmp_path)
    assert train(text, tmp_path / "run") == 1
    assert f"holds a model or a training run ({name.partition('/')[0]}" in capsys.readouterr().err
    assert content_of(tmp_path) == before


@pytest.mark.usefixtures("no_learning")
def test_half_of_a_vocabulary_is_not_written(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(text, tmp_path / "new" / "vocab.json") == 1
    assert "would be half of a vocabulary; name its folder" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_force_replaces_a_vocabulary_and_nothing_else(text: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    Tokenizer.train(["xyxy"] * 2, 300, special_tokens=["<|a|>"]).save(out)
    (out / "notes.txt").write_bytes(b"kept")
    assert train(text, out, "--force") == 0
    assert Tokenizer.load(out).fingerprint == Tokenizer.train([TEXT], 262).fingerprint
    assert sorted(content_of(out)) == ["merges.txt", "notes.txt", "vocab.json"]
    for file in ("x.json", "x.tiktoken"):
        assert train(text, tmp_path / file) == 0
        assert train(text, tmp_path / file) == 1
        assert train(text, tmp_path / file, "--force") == 0


def test_an_empty_folder_and_one_of_other_files_are_used(text: Path, tmp_path: Path) -> None:
    (tmp_path / "out.json").mkdir()
    (tmp_path / "out.json" / "notes.txt").write_bytes(b"kept")
    assert train(text, tmp_path / "out.json") == 0
    assert sorted(content_of(tmp_path / "out.json")) == ["merges.txt", "notes.txt", "vocab.json"]


@pytest.mark.parametrize(
    "out",
    [
        "text.txt",  # a file, and the kind that wants a folder
        "text.txt/below",
        "text.txt/x.json",
        "new/" + "x" * 300,
        "new/" + "x" * 245 + ".json",  # too long while it is written under another name
        "/dev/null/vocabulary",
        "blocked",
    ],
)
@pytest.mark.parametrize("flags", [[], ["--force"]])
@pytest.mark.usefixtures("no_learning")
def test_a_place_that_cannot_be_written_is_refused_before_learning_and_nothing_is_left(
    text: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    out: str,
    flags: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "blocked" / "merges.txt").mkdir(parents=True)
    before = content_of(tmp_path)
    assert train(text, out, *flags) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert content_of(tmp_path) == before


@pytest.mark.usefixtures("no_learning")
def test_a_missing_text_is_named_before_any_is_read(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for missing, why in ((tmp_path / "no.txt", "No such file"), (tmp_path, "Is a directory")):
        out = str(tmp_path / "out")
        assert main(["train", str(text), str(missing), "--vocab-size", "262", "--out", out]) == 1
        error = capsys.readouterr().err
        assert f"cannot read {missing}: {why}" in error
        assert not (tmp_path / "out").exists()


def test_a_smaller_vocabulary_than_asked_for_is_reported(
    text: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["train", str(text), "--out", str(tmp_path / "out"), "--vocab-size"]
    assert main([*args, "5000", "--min-frequency", "3"]) == 0
    n_vocab = Tokenizer.load(tmp_path / "out").n_vocab
    shown = capsys.readouterr()
    assert f"{n_vocab} tokens" in shown.err
    assert "5000" in shown.err
    assert "--min-frequency" in shown.err
    assert shown.out == f"{tmp_path / 'out'}\n"
    assert main([*args, "260", "--force"]) == 0
    assert "tokens" not in capsys.readouterr().err


def test_a_dash_is_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_from(monkeypatch, TEXT.encode())
    assert train("-", tmp_path / "out") == 0
    assert Tokenizer.load(tmp_path / "out").fingerprint == Tokenizer.train([TEXT], 262).fingerprint


def test_training_works_where_stderr_is_closed(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["train", str(text), "--vocab-size", "5000", "--out", str(tmp_path / "out")]) == 0
