"""A matrix on the page: its cells, and what is read out of them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gpt2.visual.gallery.one_file import one_file

if TYPE_CHECKING:
    from playwright.sync_api import Page

SHOW = """async (data) => {
    const { matrix } = await import("gpt2/matrix.js");
    window.pointed = [];
    const values = data.values.map((value) => value ?? NaN);
    const onPoint = (row, column) => window.pointed.push([row, column]);
    window.shown = matrix({ ...data, values, onPoint });
    document.getElementById("main").append(window.shown.element);
}"""
PIXELS = """() => {
    const canvas = document.querySelector(".plane canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return Array.from({ length: data.length / 4 }, (_, i) => Array.from(data.slice(4*i, 4*i + 4)));
}"""
DATA: dict[str, Any] = {
    "title": "Weights",
    "rows": 2,
    "columns": 3,
    "values": [0.0, 0.5, None, 1.0, 2.0, -1.0],
    "colors": ["#000000", "#808080", "#ffffff"],
    "low": 0,
    "high": 1,
    "rowLabels": ["a", "<b>"],
    "columnLabels": ["x", "y", "\\n"],
    "blank": "hidden by the mask",
}


@pytest.fixture
def shown(browser_page: "Page", tmp_path: Path) -> "Callable[[dict[str, Any]], Page]":
    """Show a matrix on an empty page."""

    def show(data: dict[str, Any]) -> "Page":
        html = one_file("gallery.js", "a", {})
        (tmp_path / "page.html").write_text(html)
        browser_page.goto((tmp_path / "page.html").as_uri())
        browser_page.evaluate(SHOW, data)
        return browser_page

    return show


def test_values_have_their_colors_and_what_is_hidden_is_blank(
    shown: "Callable[[dict[str, Any]], Page]",
) -> None:
    black, gray, white, clear = (
        [0, 0, 0, 255],
        [128, 128, 128, 255],
        [255, 255, 255, 255],
        [0, 0, 0, 0],
    )
    # What is beyond the scale has the color of its end.
    assert shown(DATA).evaluate(PIXELS) == [black, gray, clear, white, white, black]


def test_the_cell_under_the_pointer_is_read_out(shown: "Callable[[dict[str, Any]], Page]") -> None:
    page = shown(DATA)
    page.locator(".plane").hover(position={"x": 18 * 1 + 9, "y": 18 + 9})
    assert page.inner_text(".readout") == "row 1 “\u2068<b>\u2069”, column 1 “\u2068y\u2069”: 2"
    assert page.evaluate("window.pointed") == [[1, 1]]
    page.get_by_role("status").filter(has_text="column 1 “\u2068y\u2069”: 2").wait_for(
        state="attached"
    )


def test_arrow_keys_lead_from_cell_to_cell_and_end_at_the_edge(
    shown: "Callable[[dict[str, Any]], Page]",
) -> None:
    page = shown(DATA)
    page.locator(".plane").focus()
    for key in ("ArrowRight", "ArrowDown", "End", "ArrowRight", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
    assert page.evaluate("window.pointed") == [[0, 0], [1, 0], [1, 2], [1, 2], [0, 2], [0, 2]]
    assert (
        page.inner_text(".readout")
        == "row 0 “\u2068a\u2069”, column 2 “\u2068\\n\u2069”: hidden by the mask"
    )


def test_other_values_are_painted_and_read_out_in_place(
    shown: "Callable[[dict[str, Any]], Page]",
) -> None:
    page = shown(DATA)
    page.evaluate("shown.mark(0, 0); shown.show({ values: [0.25, 0, 0, 0, 0, 0], high: 0.5 })")
    assert page.inner_text(".readout") == "row 0 “\u2068a\u2069”, column 0 “\u2068x\u2069”: 0.25"
    assert page.evaluate(PIXELS)[0] == [128, 128, 128, 255]


def test_numbers_are_a_table_on_request(shown: "Callable[[dict[str, Any]], Page]") -> None:
    page = shown(DATA)
    assert page.locator("table").count() == 0
    page.click("summary")
    page.wait_for_selector("td")
    rows = page.locator("tr").all_inner_texts()
    assert [row.split("\t") for row in rows] == [
        ["row \\ column", "x", "y", "\\n"],
        ["a", "0", "0.5", ""],
        ["<b>", "1", "2", "-1"],
    ]


def test_a_long_table_shows_its_first_rows_and_columns(
    shown: "Callable[[dict[str, Any]], Page]",
) -> None:
    data = DATA | {"rows": 100, "columns": 70, "values": [1.0] * 7000}
    page = shown(data | {"rowLabels": None, "columnLabels": None})
    page.click("summary")
    page.wait_for_selector("td")
    assert (page.locator("tr").count(), page.locator("th[scope=col]").count()) == (65, 65)
    assert page.inner_text("caption") == "Weights, first 64 rows and columns"


def test_the_table_follows_the_values(shown: "Callable[[dict[str, Any]], Page]") -> None:
    page = shown(DATA)
    page.click("summary")
    page.get_by_role("cell", name="0.5", exact=True).wait_for()
    page.evaluate("shown.show({ values: [7, 0, 0, 0, 0, 0] })")
    page.get_by_role("cell", name="7", exact=True).wait_for()
    assert page.locator("table").count() == 1
