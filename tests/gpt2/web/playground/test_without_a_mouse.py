"""The playground by keys, by ear, by finger, and with large letters or few colours."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Page

WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
ENDED = ".sheet:not(.writing) .sheet-facts:has-text(';')"
OUTSIDE = """popup => {
    const right = popup.getBoundingClientRect().right;
    return [...popup.querySelectorAll("*")].some((e) => e.getBoundingClientRect().right > right);
}"""
BORDER = "e => getComputedStyle(e).borderTopColor"

Playground = Callable[..., "Page"]


def write(page: "Page", text: str) -> None:
    """Continue a text, and wait for its end."""
    page.fill("#playground-text", text)
    page.click(".main-button")
    page.locator(ENDED).wait_for()


@pytest.mark.parametrize("name", ["Go on with Text", "Write Text again"])
def test_a_button_that_has_a_text_written_keeps_the_focus(
    playground: Playground, fake: Any, name: str
) -> None:
    page = playground()
    write(page, "zero")
    fake.waits_after = 1
    button = page.get_by_role("button", name=name)
    button.press("Enter")
    page.locator(".sheet.writing").wait_for()
    expect(button).to_be_focused()
    button.press("Enter")  # it does nothing while the text is written
    button.press("Escape")
    page.locator(".sheet-facts:has-text('stopped')").wait_for()
    expect(button).to_be_focused()
    assert len(fake.requests) == 2


def test_a_refusal_to_write_is_announced(playground: Playground, fake: Any) -> None:
    fake.models["fake"] = 4
    page = playground()
    page.fill("#playground-text", "zero")
    page.click(".main-button")
    spoken = page.locator("[role=status]:not(output)")
    expect(spoken).to_contain_text("Text: The context is full: this model reads 4 tokens at most.")
    page.fill("#playground-text", "zer")
    page.click(".main-button")
    expect(spoken).to_contain_text("one")
    page.get_by_role("button", name="Go on with Text").click()
    expect(spoken).to_contain_text("Text: The context is full")


def test_the_count_of_tokens_is_read_with_the_field_and_not_while_typing(
    playground: Playground,
) -> None:
    page = playground()
    page.fill("#playground-text", "zero")
    count = page.locator("output").first
    expect(count).to_contain_text("4 tokens")
    assert count.get_attribute("aria-live") == "off"
    described_by = page.locator("#playground-text").get_attribute("aria-describedby")
    assert described_by == count.get_attribute("id")


def test_the_button_is_called_what_it_does(playground: Playground, fake: Any) -> None:
    page = playground()
    button = page.locator(".main-button")
    expect(button).to_have_accessible_name("Continue")
    fake.waits_after = 1
    page.fill("#playground-text", "zero")
    button.click()
    expect(button).to_have_accessible_name("Stop")
    assert button.get_attribute("aria-keyshortcuts") == "Escape"


def test_a_start_that_waits_for_the_server_can_be_stopped(
    playground: Playground, fake: Any
) -> None:
    page = playground()
    page.route("**/tokenize", lambda _: None)  # which never answers
    page.fill("#playground-text", "zero")
    page.click(".main-button")
    button = page.locator(".main-button")
    expect(button).to_contain_text("Stop")
    button.press("Escape")
    expect(button).to_contain_text("Continue")
    page.unroute("**/tokenize")
    write(page, "zero")
    assert len(fake.requests) == 1


def test_escape_takes_the_list_away_that_covers_the_text(playground: Playground) -> None:
    page = playground()
    write(page, "zero")
    page.focus(".flow")
    page.locator(".alternatives").wait_for()
    page.keyboard.press("Escape")
    expect(page.locator(".alternatives")).to_be_hidden()


def test_the_token_whose_alternatives_have_the_focus_is_marked(playground: Playground) -> None:
    page = playground()
    write(page, "zero")
    token = page.locator(".token-text").nth(1)
    page.focus(".flow")
    for key in ("ArrowRight", "Enter"):
        page.keyboard.press(key)
    expect(page.locator(".alternatives button").first).to_be_focused()
    expect(token).to_have_css("outline-style", "solid")
    page.keyboard.press("Escape")
    page.focus("#playground-text")
    expect(token).to_have_css("outline-style", "none")


def test_text_and_settings_are_there_after_a_reload(playground: Playground) -> None:
    page = playground()
    page.fill("#playground-text", "a beginning\n")
    page.get_by_role("slider", name="Temperature").fill("0.5")
    page.fill("#knob-stop", "x\ny")
    page.reload()
    expect(page.locator("#playground-text")).to_have_value("a beginning\n")
    expect(page.get_by_role("slider", name="Temperature")).to_have_value("0.5")
    expect(page.locator("#knob-stop")).to_have_value("x\ny")
    expect(page.locator("output").first).to_contain_text("12 tokens")


def test_text_of_twice_the_size_fits(playground: Playground) -> None:
    page = playground()
    page.set_viewport_size({"width": 375, "height": 800})
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    write(page, "zero")
    page.locator(".token-text").nth(1).click()
    assert page.evaluate(WIDER) <= 0
    assert not page.locator(".alternatives").evaluate(OUTSIDE)


def test_the_chosen_alternative_differs_in_forced_colors(playground: Playground) -> None:
    page = playground()
    page.emulate_media(forced_colors="active")
    write(page, "zero")
    page.locator(".token-text").nth(1).click()
    chosen = page.locator(".alternatives button[aria-current=true]")
    other = page.locator(".alternatives button[aria-current=false]").first
    assert chosen.evaluate(BORDER) != other.evaluate(BORDER)
