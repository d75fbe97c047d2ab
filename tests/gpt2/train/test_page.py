"""The page of a run: written when it ends, and never what the run fails for."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpt2.cli.main import main
from gpt2.config import HistoryConfig, RunConfig
from gpt2.train.metrics import read_metrics
from gpt2.train.run import resume, start
from gpt2.visual.gallery.run import run_history
from gpt2.visual.moments import read_moments


@pytest.fixture
def kept(config: RunConfig) -> RunConfig:
    return replace(config, history=HistoryConfig(moments=4))


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the pictures out, which take a second a page."""
    monkeypatch.setattr("gpt2.visual.gallery.page.drawings", lambda *_: [])


def run_on_page(page: Path) -> Any:
    """Return what a page has of a run, None if nothing."""
    found = re.search(r'<script[^>]* id="run"[^>]*>(.*?)</script>', page.read_text(), re.DOTALL)
    return json.loads(found[1]) if found else None


def test_a_run_that_keeps_moments_ends_with_its_page(kept: RunConfig, tmp_path: Path) -> None:
    start(kept, tmp_path)
    on_page = run_on_page(tmp_path / "gallery.html")
    steps = [moment.step for moment in read_moments(tmp_path)]
    assert [moment["step"] for moment in on_page["moments"]] == steps
    assert on_page["loss"]["step"] == [1, 2, 3, 4, 5, 6]
    assert on_page == run_history(read_moments(tmp_path), read_metrics(tmp_path))


@pytest.mark.usefixtures("no_pictures")
def test_a_run_without_moments_has_no_page_until_asked_for(
    config: RunConfig, tmp_path: Path
) -> None:
    start(config, tmp_path)
    page = tmp_path / "gallery.html"
    assert not page.exists()
    assert main(["gallery", "--model", str(tmp_path), "--out", str(page)]) == 0
    assert set(run_on_page(page)) == {"loss"}
    checkpoint = str(tmp_path / "best")
    assert main(["gallery", "--model", checkpoint, "--out", str(page), "--force"]) == 0
    assert set(run_on_page(page)) == {"loss"}


@pytest.mark.usefixtures("no_pictures")
def test_a_page_that_cannot_be_written_is_logged_and_the_run_is_finished(
    kept: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gallery.html").mkdir()
    start(kept, tmp_path)
    assert f"could not write {tmp_path / 'gallery.html'}: " in capsys.readouterr().err
    assert (tmp_path / "report.md").exists()


@pytest.mark.usefixtures("no_pictures")
def test_a_finished_run_whose_page_is_missing_gets_it_again(
    kept: RunConfig, tmp_path: Path
) -> None:
    start(kept, tmp_path)
    page = tmp_path / "gallery.html"
    before = page.read_bytes()
    page.unlink()
    resume(tmp_path)
    assert page.read_bytes() == before
