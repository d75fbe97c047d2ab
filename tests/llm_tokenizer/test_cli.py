import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from llm_tokenizer.cli import main


def read_from(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))


def test_encode_prints_ids_and_decode_turns_them_back(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = tmp_path / "text.txt"
    text.write_bytes("Hello, wörld\r\n".encode())
    assert main(["encode", str(text)]) == 0
    ids = capfdbinary.readouterr().out
    assert ids == b"15496, 11, 266, 30570, 335, 201, 198\n".replace(b",", b"")

    read_from(monkeypatch, ids)
    assert main(["decode"]) == 0
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == text.read_bytes()


def test_count_prints_the_number_of_tokens(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read_from(monkeypatch, b"Hello, world")
    assert main(["count"]) == 0
    assert capsys.readouterr().out == "3\n"


def test_train_writes_a_vocabulary_that_the_other_verbs_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.txt").write_text("banana banana banana", encoding="utf-8")
    out = tmp_path / "vocabulary"
    assert (
        main(["train", str(tmp_path / "text.txt"), "--vocab-size", "270", "--out", str(out)]) == 0
    )
    read_from(monkeypatch, b"banana")
    assert main(["count", "--tokenizer", str(out)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["count", "missing.txt"], "missing.txt"),
        (["count", "--tokenizer", "missing"], "vocab.json: No such file"),
        (["decode"], "wanted token ids, whole numbers, got 'x'"),
    ],
)
def test_a_failure_is_one_line(
    args: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read_from(monkeypatch, b"1 x")
    assert main(args) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert told in error
    assert error.count("\n") == 1
