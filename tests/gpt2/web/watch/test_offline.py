"""The page of runs as one file: opened from the disk, without network."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture
def page(
    run: Any,
    write_moment_of: Callable[[Any, int], None],
    browser_page: "Page",
    tmp_path: Path,
) -> "Page":
    """The file of a run with two moments."""
    pytest.importorskip("fastapi", reason="the extra [serve] is not installed")
    from gpt2.serve.watch.file import page_file
    from gpt2.serve.watch.run import RunWatch

    write_moment_of(run, 0)
    write_moment_of(run, 1)
    watch = RunWatch(run.path, "small")
    watch.look(0.0)
    (tmp_path / "runs.html").write_text(page_file({"0": watch.state()}), encoding="utf-8")
    browser_page.goto((tmp_path / "runs.html").as_uri())
    return browser_page


def test_the_file_shows_the_run_and_has_no_button_that_needs_a_server(page: "Page") -> None:
    page.locator(".place", has_text="Step 10 of 40").wait_for()
    assert page.locator(".place").inner_text() == "Step 10 of 40"  # no time left is known later
    assert page.locator(".phase").inner_text() == "not ended when this was saved"
    assert page.locator(".notice").inner_text() == ""
    assert page.locator("button", has_text="Save").count() == 0
    page.locator(".chart path.line[d]").first.wait_for(state="attached")
    assert page.locator(".prompts li").inner_text() == "step 10\n returns"


def test_the_moments_in_the_file_are_shown(page: "Page") -> None:
    page.locator("#moments").scroll_into_view_if_needed()
    page.locator(".moment-control output", has_text="step 5,").wait_for()
    page.locator(".moment-control input").press("Home")
    page.locator("#moments blockquote", has_text="at 0").wait_for()
