"""Commands whose stdout or stderr is closed, full, or read by nobody any more."""

import subprocess
import sys
from pathlib import Path

import pytest

from gpt2.cli.streams import printable
from gpt2.cli.verbs import VERBS
from gpt2.files.pretrained import GPT2

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no POSIX shell there")
needs_full_device = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="no device that is always full here"
)
FULL = pytest.param(">/dev/full", marks=needs_full_device)
STDERR_FULL = pytest.param("2>/dev/full", marks=needs_full_device)


def shell(command: str, *args: str | Path, unbuffered: bool = False) -> tuple[int, str]:
    """Run gpt2 in a shell command, as GPT2; return its exit code and all that it prints."""
    python = f"{sys.executable} {'-u' if unbuffered else ''}"
    words = " ".join(f"'{arg}'" for arg in args)
    script = command.replace("GPT2", f"{python} -m gpt2 {words}")
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("redirection", [">&-", FULL])
@pytest.mark.parametrize("unbuffered", [True, False])
@pytest.mark.parametrize("args", [["--help"], ["--version"], ["train", "--help"], ["plot", "-h"]])
def test_a_stdout_that_cannot_be_written_is_one_line(
    redirection: str, args: list[str], unbuffered: bool
) -> None:
    code, printed = shell(f"GPT2 {redirection}", *args, unbuffered=unbuffered)
    assert printed.startswith("error: cannot write to stdout: ")
    assert (code, printed.count("\n")) == (1, 1)


@pytest.mark.parametrize("verb", sorted({*VERBS} - {"train"}))
def test_every_verb_has_that_line(verb: str) -> None:
    code, printed = shell("GPT2 >&-", verb, "--help")
    assert (code, printed) == (1, "error: cannot write to stdout: it is closed\n")


@pytest.mark.parametrize("redirection", ["2>&-", STDERR_FULL, "2>&1 >/dev/null | true"])
def test_a_stderr_that_cannot_be_written_changes_no_exit_code(redirection: str) -> None:
    for args, wanted in ((["--version"], 0), (["fly"], 2), (["plot", "loss", "missing"], 1)):
        code, printed = shell(f"set -o pipefail; GPT2 {redirection}", *args)
        assert code == wanted, args
        assert "Traceback" not in printed
        assert "ignored" not in printed


def test_both_streams_may_be_closed() -> None:
    assert shell("GPT2 >&- 2>&- <&-", "--help") == (1, "")


def test_a_reader_that_stops_reading_both_ends_the_command_in_silence() -> None:
    code, printed = shell("set -o pipefail; GPT2 2>&1 | true", "train", "--help")
    assert (code, printed) in [(1, ""), (0, "")]  # 0: all was written before the reader ended


@pytest.mark.parametrize("redirection", [">&-", FULL])
def test_a_sample_that_cannot_be_written_is_one_line(
    redirection: str, model: GPT2, tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path)
    code, printed = shell(f"GPT2 {redirection}", "generate", "a", "--model", tmp_path)
    assert printed.startswith("error: cannot write to stdout: ")
    assert (code, printed.count("\n")) == (1, 1)


def test_a_closed_stderr_ends_up_in_no_file(model: GPT2, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "model")
    code, printed = shell(
        "GPT2 2>&-", "export", "--model", tmp_path / "model", "--out", tmp_path / "copy"
    )
    assert (code, printed) == (0, f"{tmp_path / 'copy'}\n")
    name = "model.safetensors"
    assert (tmp_path / "copy" / name).read_bytes() == (tmp_path / "model" / name).read_bytes()


def test_control_characters_are_written_out() -> None:
    assert printable("a\x00\x1b[31m\r\x9b日é\tb\n") == "a\\x00\\x1b[31m\\r\\x9b日é\tb\n"
