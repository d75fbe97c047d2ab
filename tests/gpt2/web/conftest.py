"""Debian's Chromium, driven by Playwright, with no network and no error in its console."""

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from gpt2.config import GPT2Config
from gpt2.files.pretrained import GPT2
from gpt2.visual.gallery.page import write_gallery
from gpt2.visual.gallery.run import TrainingRun
from gpt2.visual.moments import observe
from llm_tokenizer import Tokenizer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Route

TEXTS = ("Permission is", "a < b & c\n</script>")
PATIENCE = 30_000  # milliseconds: a machine may be busy
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what needs the browser last: while it is open, asyncio.run fails in the same thread."""
    items.sort(key=lambda item: "browser" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """The browser that is installed; where there is none, what needs it is skipped."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip("no browser is installed; on Debian: apt-get install chromium")
    playwright.expect.set_options(timeout=PATIENCE)
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(
    browser: "Browser", allowed: str, expected: Sequence[int | str] = ()
) -> "Iterator[Page]":
    """Open a page that may ask for addresses alone that begin with `allowed`.

    An error in its console fails the test, unless it is of an answer whose status, or name of the
    network's error, is `expected`.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    errors: list[str] = []

    def note(message: "ConsoleMessage") -> None:
        answer = re.match(r"Failed to load resource: (?:.* status of |net::)(\w+)", message.text)
        is_expected = answer is not None and answer[1] in map(str, expected)
        if message.type == "error" and not is_expected:
            errors.append(message.text)

    def block(route: "Route") -> None:
        if route.request.url.startswith(allowed):
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


@pytest.fixture
def browser_page(browser: "Browser") -> "Iterator[Page]":
    """A page without network; an error in its console fails the test."""
    with opened(browser, "file:") as page:
        yield page


@pytest.fixture
def served_page(browser: "Browser") -> "Iterator[Callable[..., Page]]":
    """Open the page of a server, which may ask that server alone.

    `served_page(url)`: an error in its console fails the test; `served_page(url, expected=[401])`
    allows answers of these statuses. Of `served.url + "/run"` it may ask the whole server.
    """
    with ExitStack() as stack:

        def open_page(url: str, expected: Sequence[int | str] = ()) -> "Page":
            server = re.match(r"https?://[^/]+/?", f"{url}/")
            assert server
            page = stack.enter_context(opened(browser, server[0], expected))
            page.goto(url)
            return page

        yield open_page


@pytest.fixture(scope="session")
def small_model(tokenizer: Tokenizer) -> GPT2:
    """A model whose sizes all differ, for a page that all tests share."""
    config = GPT2Config(vocab_size=300, n_positions=24, n_embd=20, n_layer=3, n_head=4)
    model = GPT2(config, tokenizer=tokenizer, seed=1).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0)
    return model


@pytest.fixture(scope="session")
def small_run(small_model: GPT2) -> TrainingRun:
    """A run with three moments: from all weights 0 to those of the model."""
    ids = small_model.require_tokenizer().encode(TEXTS[0])
    last = observe(small_model, ids, step=10, tokens=240)
    even = torch.ones(len(ids), len(ids)).tril() / torch.arange(1, len(ids) + 1)[:, None]
    moments = [
        replace(
            last,
            step=step,
            tokens=24 * step,
            sample=f" at {step}",
            attention=even.lerp(last.attention.float(), step / 10).half(),
            positions=last.positions * step / 10,
            weights=last.weights * step / 10,
        )
        for step in (0, 5, 10)
    ]
    steps = [{"step": step, "loss": 6 - 0.3 * step, "tokens": 24 * step} for step in range(1, 11)]
    evaluations = [{"step": step, "val_loss": 6.2 - 0.3 * step} for step in (5, 10)]
    return TrainingRun("runs/small", moments, [*steps, *evaluations])


@pytest.fixture(scope="session")
def gallery_file(
    small_model: GPT2, small_run: TrainingRun, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The whole page of the small model."""
    path = tmp_path_factory.mktemp("page") / "gallery.html"
    write_gallery(small_model, path, name="runs/small", texts=TEXTS, run=small_run)
    return path
