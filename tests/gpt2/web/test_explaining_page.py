"""The page of `llm-tokenizer explain` in a browser; what it says is tested beside its package."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from llm_tokenizer import Tokenizer
from llm_tokenizer.explaining import explain
from llm_tokenizer.explaining_page import page

if TYPE_CHECKING:
    from playwright.sync_api import Page

WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
TEXT = (
    "It's 12  o'clock, naïve 日本 😀 שלום é\u0301 <script>alert(1)</script><|endoftext|>" + "=" * 90
)


@pytest.fixture
def shown(browser_page: "Page", tmp_path: Path) -> "Page":
    path = tmp_path / "explained.html"
    explanation = explain(Tokenizer.gpt2(), TEXT, allowed_special="all")
    path.write_text(page(explanation), encoding="utf-8")
    browser_page.goto(path.as_uri())
    return browser_page


@pytest.mark.parametrize("width", [375, 768, 1280])
def test_nothing_is_wider_than_the_window(shown: "Page", width: int) -> None:
    shown.set_viewport_size({"width": width, "height": 800})
    for summary in shown.locator("summary").all():
        summary.click()
    assert shown.evaluate(WIDER) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(shown: "Page", scheme: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    shown.emulate_media(color_scheme=scheme)
    for summary in shown.locator("summary").all():
        summary.click()
    found = axe.run(shown).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []


def test_a_piece_of_the_list_leads_to_its_merges_by_keyboard(shown: "Page") -> None:
    shown.get_by_role("link", name='"clock"').focus()
    shown.keyboard.press("Enter")
    assert shown.locator(":target h3").inner_text() == '"clock"'


def test_a_new_token_is_as_wide_as_the_two_that_it_joins(shown: "Page") -> None:
    steps = shown.get_by_role("region", name='Merges of "clock"').locator("tr.step")
    left, right = steps.nth(0).locator(".left"), steps.nth(0).locator(".right")
    boxes = [cell.bounding_box() for cell in (left, right, steps.nth(1).locator(".new"))]
    assert all(boxes)
    first, second, joined = (box or {} for box in boxes)
    assert joined["x"] == pytest.approx(first["x"])
    assert joined["width"] == pytest.approx(first["width"] + second["width"])
