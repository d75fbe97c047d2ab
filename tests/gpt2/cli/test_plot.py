"""`gpt2 plot`: what it draws, refuses and leaves alone."""

from pathlib import Path

import pytest

from gpt2.cli.main import main
from gpt2.files.pretrained import GPT2


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--text", ""], "--text must have at least one token, got an empty one"),
        (["--text", "a " * 30], "the text must have 1 to 24 tokens, the context of this model"),
        (["--text", "a", "--out", "a.xyz"], "an image must end in one of"),
        (["--text", "a", "--out", "a"], "an image must end in one of"),
        (["--text", "a", "--head", "4"], "head must be 0 to 3 in this model, got 4"),
        (["--text", "a", "--block", "-1"], "block must be 0 to 2 in this model, got -1"),
    ],
    ids=str,
)
def test_what_cannot_be_drawn_is_one_line(
    flags: list[str],
    told: str,
    model: GPT2,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model.save_pretrained(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    assert main(["plot", "attention", "--model", "model", *flags]) == 1
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_vocabulary_with_gaps_is_drawn(gapped_model: GPT2, tmp_path: Path) -> None:
    gapped_model.save_pretrained(tmp_path / "model")
    args = ["--text", "Permission is<|endoftext|>", "--out", str(tmp_path / "a.png")]
    assert main(["plot", "attention", "--model", str(tmp_path / "model"), *args]) == 0
    assert (tmp_path / "a.png").exists()
