"""`gpt2 gallery`: the page that it writes, and what it refuses."""

from pathlib import Path

import pytest

from gpt2.cli.main import main
from gpt2.files.pretrained import GPT2


def test_a_page_is_written_and_replaced_if_asked_only(
    model: GPT2, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.save_pretrained(tmp_path / "model")
    out = tmp_path / "new" / "page.html"
    command = ["gallery", "--model", str(tmp_path / "model"), "--out", str(out)]
    assert main([*command, "--text", "Permission is", "a <b>"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{out}\n"
    assert "MB; open it in a browser" in printed.err
    page = out.read_text(encoding="utf-8")
    assert '"texts":["Permission is","a \\u003cb>"]' in page

    assert main(command) == 1
    assert "is there already; choose another --out, or replace it" in capsys.readouterr().err
    assert out.read_text(encoding="utf-8") == page
    assert main([*command, "--force"]) == 0
    assert out.read_text(encoding="utf-8") != page


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--text", ""], "the text must have 1 to 24 tokens, the context of this model, got 0"),
        (["--text", *"abcdefghi"], "--text takes up to 8 texts, got 9"),
        (["--out", "."], "this one is a directory"),
        (["--model", "none"], "none"),
    ],
    ids=str,
)
def test_what_cannot_be_shown_is_one_line(
    flags: list[str],
    told: str,
    model: GPT2,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model.save_pretrained(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    of_model = [] if "--model" in flags else ["--model", "model"]
    assert main(["gallery", *of_model, *flags]) == 1
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
