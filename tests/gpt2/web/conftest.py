"""Debian's Chromium, driven by Playwright, with no network and no error in its console."""

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Route

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """The browser that is installed; where there is none, what needs it is skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip("no browser is installed; on Debian: apt-get install chromium")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def browser_page(browser: "Browser") -> "Iterator[Page]":
    """A page without network; an error in its console fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(5000)
    errors: list[str] = []

    def note(message: "ConsoleMessage") -> None:
        if message.type in ("error", "warning"):
            errors.append(message.text)

    def block(route: "Route") -> None:
        if route.request.url.startswith("file:"):
            route.continue_()
        else:
            errors.append(f"asked for {route.request.url}")
            route.abort()

    page.on("console", note)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.route("**/*", block)
    yield page
    context.close()
    assert not errors
