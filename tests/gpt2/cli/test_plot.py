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
    for name, flags in (("positions", []), ("weights", [])):
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


def _limit_files(size: int) -> None:
    """Let no file grow beyond a size, as if the disk were full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
