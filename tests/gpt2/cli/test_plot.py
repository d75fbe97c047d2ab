"""`gpt2 plot`: what it draws, refuses and leaves alone."""

import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from gpt2.cli.main import main
from gpt2.files.pretrained import GPT2


def test_plots_write_the_images_they_name(
    model: GPT2, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.save_pretrained(tmp_path)
    for name, flags in (
        ("positions", []),
        ("weights", []),
        ("attention", ["--text", "Permission is", "--head", "3"]),
    ):
        out = tmp_path / f"{name}.png"
        command = ["plot", name, "--model", str(tmp_path), "--out", str(out), *flags]
        assert main(command) == 0
        assert capsys.readouterr().out == f"{out}\n"
        assert out.read_bytes().startswith(b"\x89PNG")


def test_an_image_is_replaced_if_asked_only(
    model: GPT2, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.save_pretrained(tmp_path / "model")
    out = tmp_path / "old.PNG"
    out.write_bytes(b"old")
    for name, flags in (("positions", []), ("weights", []), ("attention", ["--text", "a"])):
        command = ["plot", name, "--model", str(tmp_path / "model"), "--out", str(out), *flags]
        assert main(command) == 1
        told = capsys.readouterr().err
        assert "is there already; choose another --out, or replace it with --force" in told
        assert out.read_bytes() == b"old"
    assert main([*command, "--force"]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    assert main(["plot", "loss", str(tmp_path), "--out", str(out)]) == 1
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".PNG", ".Svg", ".pdf", ".JPG"])
def test_images_have_the_endings_that_matplotlib_knows_in_any_case(
    suffix: str, model: GPT2, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path / "model")
    out = tmp_path / f"new/a{suffix}"
    assert main(["plot", "weights", "--model", str(tmp_path / "model"), "--out", str(out)]) == 0
    assert out.stat().st_size > 1000


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


@pytest.mark.skipif(sys.platform == "win32", reason="files have no limit there")
def test_a_full_disk_leaves_no_image_and_the_old_one_whole(model: GPT2, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "old.png").write_bytes(b"old")
    for out in ("new.png", "old.png"):
        args = ["plot", "weights", "--model", str(tmp_path / "model"), "--force"]
        limited = subprocess.run(
            [sys.executable, "-m", "gpt2", *args, "--out", str(tmp_path / out)],
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=partial(_limit_files, 1000),
        )
        assert limited.returncode == 1
        assert limited.stderr == f"error: [Errno 27] File too large: '{tmp_path / out}'\n"
    assert {path.name for path in tmp_path.iterdir()} == {"model", "old.png"}
    assert (tmp_path / "old.png").read_bytes() == b"old"


def test_a_vocabulary_with_gaps_is_drawn(gapped_model: GPT2, tmp_path: Path) -> None:
    gapped_model.save_pretrained(tmp_path / "model")
    args = ["--text", "Permission is<|endoftext|>", "--out", str(tmp_path / "a.png")]
    assert main(["plot", "attention", "--model", str(tmp_path / "model"), *args]) == 0
    assert (tmp_path / "a.png").exists()


def _limit_files(size: int) -> None:
    """Let no file grow beyond a size, as if the disk were full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
