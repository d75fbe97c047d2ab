"""What all pictures share: the image they write, and what they leave alone."""

import json
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from gpt2.cli.main import main
from gpt2.files.pretrained import GPT2


@pytest.fixture
def saved(model: GPT2, tmp_path: Path) -> str:
    """The directory of a model, as a flag."""
    model.save_pretrained(tmp_path / "model")
    return f"--model={tmp_path / 'model'}"


def test_a_picture_is_written_under_its_name_where_no_other_is_given(
    saved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["plot", "positions", saved]) == 0
    assert capsys.readouterr().out == "positions.png\n"
    assert Path("positions.png").read_bytes().startswith(b"\x89PNG")


def test_an_image_is_replaced_if_asked_only(
    saved: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "old.PNG"
    out.write_bytes(b"old")
    command = ["plot", "positions", saved, "--out", str(out)]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert "is there already; choose another --out, or replace it with --force" in error
    assert out.read_bytes() == b"old"
    assert main([*command, "--force"]) == 0
    assert out.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("suffix", [".PNG", ".Svg", ".pdf", ".JPG"])
def test_images_have_the_endings_that_matplotlib_knows_in_any_case(
    suffix: str, saved: str, tmp_path: Path
) -> None:
    out = tmp_path / f"new/a{suffix}"
    assert main(["plot", "weights", saved, "--out", str(out)]) == 0
    assert out.stat().st_size > 1000


@pytest.mark.parametrize("out", ["a.xyz", "a"])
def test_other_endings_are_refused_before_the_model_is_opened(
    out: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plot", "positions", "--model=./nowhere", "--out", out]) == 1
    assert "an image must end in one of" in capsys.readouterr().err


def test_numbers_are_printed_alone_or_beside_an_image(
    saved: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["plot", "positions", saved, "--channels=3", "--json"]
    assert main(command) == 0
    alone = capsys.readouterr().out
    assert json.loads(alone)["channels"] == [3]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert main([*command, "--out=a.svg"]) == 0
    assert capsys.readouterr().out == alone
    assert Path("a.svg").stat().st_size > 1000


@pytest.mark.skipif(sys.platform == "win32", reason="files have no limit there")
def test_a_full_disk_leaves_no_image_and_the_old_one_whole(saved: str, tmp_path: Path) -> None:
    (tmp_path / "old.png").write_bytes(b"old")
    for out in ("new.png", "old.png"):
        args = ["plot", "weights", saved, "--force", "--out", str(tmp_path / out)]
        limited = subprocess.run(
            [sys.executable, "-m", "gpt2", *args],
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=partial(_limit_files, 1000),
        )
        assert limited.returncode == 1
        assert limited.stderr == f"error: [Errno 27] File too large: '{tmp_path / out}'\n"
    assert {path.name for path in tmp_path.iterdir()} == {"model", "old.png"}
    assert (tmp_path / "old.png").read_bytes() == b"old"


def _limit_files(size: int) -> None:
    """Let no file grow beyond a size, as if the disk were full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
