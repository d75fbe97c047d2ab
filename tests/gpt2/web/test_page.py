"""The gallery page as a reader has it: in a browser, from the disk, without network."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gpt2.files.pretrained import GPT2
from gpt2.visual.gallery.pictures import drawings
from gpt2.visual.gallery.run import TrainingRun
from gpt2.visual.pictures.weights import gray_limit

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture
def page(browser_page: "Page", gallery_file: Path) -> "Page":
    """The page, opened from the disk, with a reader who wants no motion."""
    browser_page.emulate_media(reduced_motion="reduce")
    browser_page.goto(gallery_file.as_uri())
    return browser_page


def names(page: "Page") -> list[str]:
    return [a["href"].removeprefix("#") for a in page.eval_on_selector_all(".card", ATTRIBUTES)]


def pressed(page: "Page", *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


ATTRIBUTES = "all => all.map(e => ({href: e.getAttribute('href')}))"
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
NOTE_SAMPLES = """() => {
    window.samples = [];
    const sample = document.querySelector("#training blockquote");
    const note = () => window.samples.push(sample.lastChild.textContent);
    new MutationObserver(note).observe(sample, { childList: true });
}"""
PIXELS = """canvas => Array.from(
    canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data)"""


def test_the_page_says_which_model_it_is_of(page: "Page", small_model: GPT2) -> None:
    assert page.title() == "runs/small: GPT-2 from the inside"
    assert page.inner_text("h1") == "runs/small"
    facts = page.eval_on_selector_all(".facts dd", "all => all.map(e => e.textContent)")
    assert facts == [f"{small_model.num_parameters():,}", "3", "4", "20", "24", "300"]


def test_there_is_a_card_for_each_picture(
    page: "Page", small_model: GPT2, small_run: TrainingRun
) -> None:
    assert len(names(page)) == len(list(drawings(small_model, "small", "Permission is", small_run)))
    assert len(set(names(page))) == len(names(page))
    widths = "all => Promise.all(all.map(e => e.decode().then(() => e.naturalWidth)))"
    assert min(page.eval_on_selector_all(".card img", widths)) > 300


def test_a_click_opens_a_picture_large_and_says_what_it_is(page: "Page") -> None:
    page.click(".card[href='#positions']")

    dialog = page.locator("dialog")
    assert dialog.locator("h2").inner_text() == "Position embeddings"
    assert page.url.endswith("#positions")
    assert "Each line is one channel" in dialog.inner_text()
    assert "smooth waves" in dialog.inner_text()
    assert "src/gpt2/visual/pictures/positions.py:" in dialog.inner_text()
    assert "def position_curves(" in dialog.inner_text()
    assert "gpt2 plot positions --model runs/small" in dialog.inner_text()
    alternative = dialog.locator("img").get_attribute("alt") or ""
    assert alternative.startswith("Values of channels")


def test_the_numbers_behind_a_picture_are_in_a_table(page: "Page", small_model: GPT2) -> None:
    page.click(".card[href='#positions']")
    page.click("dialog summary")
    page.wait_for_selector("dialog td")

    channels = page.locator("dialog th").all_inner_texts()[1:]
    row = page.locator("dialog tbody tr").nth(2).locator("td").all_inner_texts()

    expected = [small_model.wpe.weight[2, int(name.split()[1])].item() for name in channels]
    assert [float(value) for value in row] == pytest.approx([2, *expected], abs=1e-4)


def test_keys_open_turn_and_close_pictures_and_focus_comes_back(page: "Page") -> None:
    first, *_, last = all_names = names(page)
    page.focus(f".card[href='#{first}']")
    pressed(page, "Enter")
    page.wait_for_selector("dialog[open]")
    pressed(page, "ArrowRight")
    page.wait_for_url(f"**#{all_names[1]}")
    pressed(page, "ArrowLeft", "ArrowLeft")
    page.wait_for_url(f"**#{last}")
    pressed(page, "Escape")
    page.wait_for_selector(f".card[href='#{last}']:focus")  # comes after the dialog is hidden
    assert page.evaluate("location.hash") == ""


def test_focus_stays_inside_an_open_picture(page: "Page") -> None:
    page.click(".card")
    page.wait_for_selector("dialog[open]")
    for _ in range(30):
        pressed(page, "Tab")
        where = page.evaluate(
            "document.activeElement.closest('dialog') !== null || !document.hasFocus() ||"
            "document.activeElement === document.body"  # the browser's own bar
        )
        assert where


def test_a_link_opens_its_picture_and_back_closes_it(page: "Page", gallery_file: Path) -> None:
    name = names(page)[-1]
    page.goto(f"{gallery_file.as_uri()}#{name}")
    page.wait_for_selector("dialog[open]")
    page.click("[aria-label=Close]")
    page.wait_for_selector("dialog", state="hidden")
    page.click(f".card[href='#{name}']")
    page.wait_for_selector("dialog[open]")
    page.go_back()
    page.wait_for_selector("dialog", state="hidden")


def test_a_picture_is_enlarged_to_all_its_pixels(page: "Page") -> None:
    page.click(".card[href='#positions']")
    page.wait_for_selector("dialog[open]")
    image = page.locator("dialog .paper img")
    image.evaluate("e => e.decode()")
    sizes = "e => [e.clientWidth, e.naturalWidth]"
    shown, natural = image.evaluate(sizes)
    assert shown < natural
    page.click("text=Full size")
    assert image.evaluate(sizes) == [natural, natural]
    page.click("text=Full size")
    assert image.evaluate(sizes) == [shown, natural]


def test_the_command_is_copied(page: "Page") -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.click(".card[href='#positions']")
    page.click("text=Copy")
    page.wait_for_selector("text=Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == "gpt2 plot positions --model runs/small"


def test_the_slider_shows_each_moment(page: "Page", small_run: TrainingRun) -> None:
    slider = page.locator("input[type=range][aria-label='Moment of training']")
    weights = page.locator("#training .matrix canvas").first
    shown = []
    for key, step in (("Home", 0), ("ArrowRight", 5), ("End", 10)):
        slider.press(key)
        page.wait_for_selector(f"blockquote:has-text('at {step}')")
        assert slider.get_attribute("aria-valuetext") == f"step {step}"
        shown.append(weights.evaluate(PIXELS)[::4])  # red, as all colors are gray
    last = small_run.moments[2].weights.float()
    limit = gray_limit(last.numpy())  # the same grays as in the picture of the weights
    levels = (last / limit + 1) / 2 * 255
    assert set(shown[0]) == {128}  # all weights are 0
    np.testing.assert_allclose(shown[2], levels.clamp(0, 255).flatten(), atol=2)
    assert shown[1] != shown[2]


def test_a_small_map_of_a_moment_is_chosen_by_keys_and_shown_large(
    page: "Page", small_run: TrainingRun
) -> None:
    maps = page.locator("#training .all-heads .plane")
    for key in ("ArrowUp", "ArrowUp", "Home", "ArrowRight", "ArrowRight", "ArrowDown", "Enter"):
        maps.press(key)
    large = page.locator("#training .pair .matrix:not(.all-heads)")
    assert large.locator("figcaption").text_content() == "Attention of block 1, head 2"
    large.locator("summary").click()
    cell = large.locator("tbody tr:nth-child(2) td:nth-child(2)").text_content()
    assert float(cell or "") == pytest.approx(
        float(small_run.moments[-1].attention[1, 2, 1, 0]), abs=0.5 / 255 + 1e-4
    )


def test_moments_play_one_after_the_other(page: "Page") -> None:
    page.evaluate(NOTE_SAMPLES)
    page.click("text=Play")
    page.wait_for_selector("blockquote:has-text('at 10')")
    page.wait_for_selector("button:text('Play')")
    assert page.evaluate("window.samples") == [" at 0", " at 5", " at 10"]


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_is_wider_than_the_window(page: "Page", width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate(WIDER) == 0
    page.click(".card")
    page.wait_for_selector("dialog[open]")
    assert page.locator("dialog").evaluate("e => e.scrollWidth - e.clientWidth") == 0


def test_the_page_turns_dark_as_the_system_does_or_by_its_button(page: "Page") -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(background)
    page.click("[aria-label='Turn the page light']")
    assert page.evaluate(background) == light != dark
    page.click("[aria-label='Turn the page dark']")
    assert page.evaluate(background) == dark


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(page: "Page", scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    found = axe.run(page).response["violations"]
    page.click(".card")
    page.click("dialog summary")
    page.wait_for_selector("dialog td")
    found += axe.run(page).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []


def test_no_text_of_the_page_can_end_its_data(gallery_file: Path) -> None:
    html = gallery_file.read_text(encoding="utf-8")
    start = html.index('id="page">') + len('id="page">')
    data = json.loads(html[start : html.index("</script>", start)])
    assert data["texts"] == ["Permission is", "a < b & c\n</script>"]


def test_what_has_the_focus_is_not_behind_the_slider(page: "Page") -> None:
    page.focus("#training .moments summary")
    page.keyboard.press("Tab")
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    page.keyboard.press("Shift+Tab")
    top = page.evaluate("document.activeElement.getBoundingClientRect().top")
    control = page.locator(".moment-control").bounding_box()
    assert control and top >= control["y"] + control["height"]


def test_each_matrix_has_a_name(page: "Page") -> None:
    for section in page.locator("main > section, .inside-part").all():
        section.scroll_into_view_if_needed()
    names = page.locator(".plane").evaluate_all("all => all.map(e => e.ariaLabel)")
    assert len(names) > 5
    assert not [name for name in names if name.startswith(":")]


def test_the_map_of_a_moment_is_blank_in_the_future(page: "Page", small_run: TrainingRun) -> None:
    canvas = page.locator(".moments .pair .matrix").nth(1).locator("canvas").first
    count = len(small_run.moments[-1].ids)
    opaque = np.array(canvas.evaluate(PIXELS)).reshape(count, count, 4)[..., 3] == 255
    assert (opaque == np.tri(count, dtype=bool)).all()
