"""One version stands in every file that has it, and a release is refused where it does not."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
MOST_SECONDS = 60


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def project(path: str) -> dict[str, Any]:
    found = tomllib.loads(read(path))["project"]
    assert isinstance(found, dict)
    return found


VERSION = project("pyproject.toml")["version"]


def test_the_version_is_the_same_in_every_file() -> None:
    assert project("tokenizer/pyproject.toml")["version"] == VERSION
    assert f"llm-tokenizer=={VERSION}" in project("pyproject.toml")["dependencies"]
    assert f"\nversion: {VERSION}\n" in read("CITATION.cff")


def test_the_changelog_begins_with_what_is_unreleased_and_then_has_the_version() -> None:
    headings = re.findall(r"^## (.*)$", read("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(VERSION)} - \d{{4}}-\d\d-\d\d", headings[1])


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
@pytest.mark.parametrize(
    ("tag", "changelog", "told"),
    [
        ("v9.9.9", "## 9.9.9 - 2026-01-01\n\n- New.\n", f"the tag must be v{VERSION}"),
        (f"v{VERSION}", "## 0.0.1 - 2026-01-01\n\n- New.\n", f"a section '## {VERSION} - "),
        (f"v{VERSION}", f"## {VERSION} - 2026-01-01\n\n## 0.0.1 - ", "must have a section"),
    ],
)
def test_a_tag_of_another_version_or_without_notes_is_refused(
    tag: str, changelog: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/release", tmp_path / ".ci")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "CHANGELOG.md").write_text(changelog)
    done = subprocess.run(
        ["bash", ".ci/release", tag],
        cwd=tmp_path,
        env=os.environ | {"PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=MOST_SECONDS,
    )
    assert done.returncode == 1
    assert told in done.stderr
    assert not (tmp_path / "build/release/tools").exists()
