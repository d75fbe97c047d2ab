"""Shell completion, by the shell itself."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gpt2.cli.main import main
from gpt2.cli.verbs import VERBS

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


def completed(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> set[str]:
    """Return what bash offers for the last of the words."""
    assert main(["completion", "bash"]) == 0
    gpt2 = tmp_path / "gpt2"
    gpt2.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gpt2 "$@"\n')
    gpt2.chmod(0o755)
    typed = " ".join(f"'{word}'" for word in [str(gpt2), *words])
    script = (
        capsys.readouterr().out
        + f"COMP_WORDS=({typed}); COMP_CWORD={len(words)}; _gpt2; printf '%s\\n' ${{COMPREPLY[@]}}"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.split())


def test_verbs_are_completed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert completed([""], tmp_path, capsys) == set(VERBS)
    assert completed(["ge"], tmp_path, capsys) == {"generate"}


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        (["generate", "--max"], {"--max-new-tokens"}),
        (["generate", "a prompt", "--te"], {"--temperature"}),
        (["plot", "attention", "--te"], {"--text"}),
        (["train", "--training.st"], {"--training.steps"}),
        (["export", "--fo"], {"--force", "--format"}),
        (["export", "--out", "x"], set()),
    ],
    ids=lambda value: " ".join(sorted(value)) or "none",
)
def test_flags_are_completed_by_the_help_of_the_verb(
    words: list[str], flags: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert completed(words, tmp_path, capsys) == flags


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_reads_its_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "zsh"]) == 0
    subprocess.run(["zsh", "-fc", capsys.readouterr().out], check=True)
