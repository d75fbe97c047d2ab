"""`gpt2 plot attention | tokens | next | lens | flow`: files, numbers and refusals."""

import json
from pathlib import Path

import pytest
import torch

from gpt2.cli.main import main
from gpt2.files.pretrained import GPT2
from llm_tokenizer import Tokenizer

TEXT = "Permission is $ é\n"
NAMES = ["attention", "tokens", "next", "lens", "flow"]


@pytest.fixture
def saved(model: GPT2, tmp_path: Path) -> str:
    model.save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_pictures_are_written_and_named(
    name: str, suffix: str, saved: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / f"picture.{suffix}"
    assert main(["plot", name, "--model", saved, "--text", TEXT, "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert out.read_bytes().startswith(b"\x89PNG" if suffix == "png" else b"<?xml")


@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_one_strict_json_object_and_no_image(
    name: str,
    saved: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["plot", name, "--model", saved, "--text", TEXT, "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert isinstance(json.loads(line, parse_constant=pytest.fail), dict)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def numbers(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, list]:
    assert main(["plot", *args, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_flags_choose_what_is_shown(saved: str, capsys: pytest.CaptureFixture[str]) -> None:
    common = ("--model", saved, "--text", TEXT)
    one = numbers(capsys, "attention", *common, "--block", "1", "--head", "2")
    assert (one["blocks"], one["heads"]) == ([1], [2])
    assert one["weights"][0][0][0][:2] == [1, None]  # the future is null
    assert len(numbers(capsys, "next", *common, "--top", "3")["ids"]) == 3
    assert numbers(capsys, "flow", *common, "--token", " the")["token"] == " the"


def test_numbers_are_those_of_the_model(
    model: GPT2, saved: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = model.require_tokenizer().encode(TEXT)
    with torch.no_grad():
        last = model(torch.tensor([ids]))[0, -1]
    common = ("--model", saved, "--text", TEXT)
    assert numbers(capsys, "tokens", *common)["ids"] == ids
    assert numbers(capsys, "next", *common)["ids"][0] == int(last.argmax())
    added = numbers(capsys, "flow", *common)["added"]
    assert sum(added) == pytest.approx(last.max().item(), rel=1e-4)


def test_tokens_need_no_model_where_a_tokenizer_is_named(
    tokenizer: Tokenizer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    released = numbers(capsys, "tokens", "--tokenizer", "gpt2", "--text", "Hello, world")
    assert released["ids"] == [15496, 11, 995]
    assert released["bits"] is None
    tokenizer.save(tmp_path)
    own = numbers(capsys, "tokens", "--tokenizer", str(tmp_path), "--text", TEXT)
    assert own["ids"] == tokenizer.encode(TEXT)


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        (["attention", "--text", ""], "the text must have 1 to 24 tokens, the context"),
        (["lens", "--text", "\n " * 30], "the text must have 1 to 24 tokens, the context"),
        (["attention", "--text", "a", "--out", "a.xyz"], "an image must end in one of"),
        (["next", "--text", "a", "--out", "a"], "an image must end in one of"),
        (["attention", "--text", "a", "--head", "4"], "head must be 0 to 3 in this model, got 4"),
        (["attention", "--text", "a", "--block=-1"], "block must be 0 to 2 in this model, got -1"),
        (["next", "--text", "a", "--top", "0"], "top must be 1 to 60, got 0"),
        (["flow", "--text", "a", "--token", "a b"], "'a b' must be one token"),
        (["tokens", "--text", "a", "--tokenizer", "none"], "cannot read none/vocab.json"),
    ],
    ids=str,
)
def test_what_cannot_be_drawn_is_one_line(
    args: list[str],
    wanted: str,
    saved: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["plot", *args, "--model", saved]) == 1
    error = capsys.readouterr().err
    assert wanted in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("name", NAMES)
def test_a_text_is_asked_for(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", name]) == 2
    assert "--text" in capsys.readouterr().err


def test_a_vocabulary_with_gaps_is_drawn(gapped_model: GPT2, tmp_path: Path) -> None:
    gapped_model.save_pretrained(tmp_path / "model")
    common = ["--model", str(tmp_path / "model"), "--text", "Permission is<|endoftext|>"]
    for name in NAMES:
        assert main(["plot", name, *common, "--out", str(tmp_path / f"{name}.png")]) == 0
