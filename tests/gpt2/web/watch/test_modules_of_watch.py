"""What the watch page computes: bounded rows, means, places, and how amounts are written."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gpt2.visual.gallery.colors import page_colors
from gpt2.visual.gallery.one_file import one_file
from gpt2.visual.losses import smoothed

if TYPE_CHECKING:
    from playwright.sync_api import Page

GROW = """async ([width, count]) => {
    const { takeEvent } = await import("gpt2/watch/runs.js");
    const run = { state: null };
    const row = (step, loss) => ({ step, loss, tokens: 10 * step, mfu: null });
    const rows = Array.from({ length: 2000 }, (_, i) => row((i + 1) * width, i % 2 ? 3 : 1));
    takeEvent(run, { kind: "all", state: { rows } });
    let most = 0;
    for (let step = 2000 * width + 1; step <= 2000 * width + count; step++) {
        takeEvent(run, { kind: "rows", rows: [row(step, 5)] });
        most = Math.max(most, run.state.rows.length);
    }
    return [most, run.state.rows];
}"""

LIGHTNESS = """async (color) => {
    const { colored } = await import("gpt2/curves.js");
    const shape = colored(document.createElement("p"), color);
    document.body.append(shape);
    shape.style.setProperty("background-color", "oklab(from currentColor l 0 0)");
    return Number(getComputedStyle(shape).backgroundColor.match(/[\\d.]+/)[0]);
}"""

STEADY = {"skipped": [], "status": {"step": 60}, "settings": {"vocab_size": 100}, "band": []}


@pytest.fixture
def page(browser_page: "Page", tmp_path: Path) -> "Page":
    """A page that has the modules, and nothing else."""
    (tmp_path / "page.html").write_text(one_file("watch/page.js", "a", {}))
    browser_page.goto((tmp_path / "page.html").as_uri())
    return browser_page


def called(page: "Page", module: str, name: str, *arguments: Any) -> Any:
    """Call a function of a module."""
    call = "async ([module, name, all]) => (await import(`gpt2/${module}`))[name](...all)"
    return page.evaluate(call, [module, name, arguments])


@pytest.mark.parametrize("width", [1, 300])
def test_rows_of_a_long_run_are_joined_and_keep_their_mean(page: "Page", width: int) -> None:
    count = 20_000
    most, rows = page.evaluate(GROW, [width, count])
    last = 2000 * width + count
    assert most <= 4000
    assert rows[-1] == {"step": last, "loss": 5, "tokens": 10 * last, "mfu": None}
    steps = np.array([row["step"] for row in rows])
    losses = np.array([row["loss"] for row in rows])
    assert (np.diff(steps) > 0).all()
    expected = (2 * 2000 * width + 5 * count) / last  # a mean of 2, and then 5s
    weights = np.diff(steps, prepend=0)
    # The first row stands for one step alone, as far as the page can know.
    assert np.average(losses, weights=weights) == pytest.approx(expected, rel=1e-3)


def test_rows_that_are_few_stay_as_they_are(page: "Page") -> None:
    most, rows = page.evaluate(GROW, [1, 100])
    assert most == len(rows) == 2100
    assert [row["loss"] for row in rows[:3]] == [1, 3, 1]


def test_the_mean_is_that_of_the_pictures(page: "Page") -> None:
    losses = np.random.default_rng(1).normal(4, 1, 300)
    line = {"x": list(range(300)), "y": losses.tolist()}
    found = called(page, "watch/columns.js", "smooth", line)
    assert found["x"] == line["x"]
    np.testing.assert_allclose(found["y"], smoothed(losses), rtol=1e-12)


def test_the_mean_passes_over_what_is_missing_and_long_lines_get_few_points(page: "Page") -> None:
    line = {"x": list(range(4000)), "y": [None if i == 7 else 2.0 for i in range(4000)]}
    found = called(page, "watch/columns.js", "smooth", line)
    assert set(found["y"]) == {2.0}
    assert found["x"][5:8] == [5, 6, 8]
    assert found["x"][-1] == 3999
    assert len(found["x"]) < 400


def test_a_step_between_two_rows_is_placed_between_them(page: "Page") -> None:
    rows = [
        {"step": 10, "tokens": 100, "training_seconds": 3600},
        {"step": 20, "tokens": 200, "training_seconds": 10_800},
    ]
    places = [called(page, "watch/columns.js", "placesOf", rows, [10, 15, 20, 25], over)
              for over in ("steps", "tokens", "hours")]  # fmt: skip
    assert places == [[10, 15, 20, 25], [100, 150, 200, 200], [1, 2, 3, 3]]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (59, "59 s"),
        (90, "2 min"),
        (3600, "1 h"),
        (12_000, "3 h 20 min"),
        (86_400, "1 d"),
        (100_000, "1 d 4 h"),
    ],
)
def test_times_are_written_in_two_units_at_most(page: "Page", seconds: float, text: str) -> None:
    assert called(page, "amounts.js", "duration", seconds) == text


@pytest.mark.parametrize(
    ("bytes_", "text"), [(12, "12 bytes"), (2040, "2.04 kB"), (497_759_232, "498 MB")]
)
def test_sizes_are_written_in_decimal_units(page: "Page", bytes_: int, text: str) -> None:
    assert called(page, "amounts.js", "size", bytes_) == text


@pytest.mark.parametrize(
    ("loss", "place", "begin"),
    [
        (3.0, "within", "Normal."),
        (3.21, "above", "Higher than known."),
        (2.9, "below", "Lower than known."),
    ],
)
def test_a_held_out_loss_is_set_beside_its_known_range(
    page: "Page", loss: float, place: str, begin: str
) -> None:
    state = {
        "held_out": [{"step": 50, "val_loss": 9.0}, {"step": 1000, "val_loss": loss}],
        "band": [[50, 8.0, 8.5], [1000, 2.95, 3.2]],
    }
    verdict = called(page, "watch/verdict.js", "verdictOf", STEADY | state)
    assert verdict["place"] == place
    assert verdict["text"] == (
        f"{begin} At step 1,000 the held-out loss is {loss:.3f}; "
        "like runs have 2.950 to 3.200 there."
    )


def test_where_no_range_is_known_the_page_says_so(page: "Page") -> None:
    state = STEADY | {"held_out": [{"step": 50, "val_loss": 4.0}]}
    verdict = called(page, "watch/verdict.js", "verdictOf", state)
    assert verdict["place"] == "unknown"
    assert verdict["text"] == (
        "The held-out loss is 4.000 at step 50. No range is known for such a run."
    )


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (
            {"held_out": [{"step": 50, "val_loss": 3.0}, {"step": 60, "val_loss": None}]},
            "At step 60 the held-out loss is not finite.",
        ),
        (
            {"held_out": [], "skipped": [7, 58, 59, 60]},
            "The last 3 steps were skipped: their loss or gradient norm was not finite.",
        ),
        (
            {"held_out": [{"step": 60, "val_loss": 5.2}], "band": [[60, 3.0, 3.5]]},
            "At step 60 the held-out loss is 5.200; tokens drawn by chance have 4.605.",
        ),
    ],
)
def test_a_run_that_has_diverged_is_called_so_whether_a_range_is_known_or_not(
    page: "Page", state: dict[str, Any], text: str
) -> None:
    verdict = called(page, "watch/verdict.js", "verdictOf", STEADY | state)
    assert verdict == {
        "place": "faulty",
        "text": f"Not normal. {text} Most often the learning rate is too high.",
    }


@pytest.mark.parametrize(
    "state",
    [
        {"skipped": [7, 59, 60]},  # float16 skips some while its scale finds its range
        {"skipped": [57, 58, 59]},  # it goes on
        {"held_out": [{"step": 1, "val_loss": 4.7}]},  # a new model, a little above chance
        {"held_out": [{"step": 60, "val_loss": 5.2}], "settings": {}},
    ],
)
def test_a_run_that_skips_few_steps_or_has_just_begun_is_not_called_faulty(
    page: "Page", state: dict[str, Any]
) -> None:
    state = STEADY | {"held_out": []} | state
    assert called(page, "watch/verdict.js", "verdictOf", state)["place"] == "unknown"


@pytest.mark.parametrize(
    ("last", "pixels", "ticks"),
    [(900, 250, [200, 400, 600, 800]), (900, 1200, [100 * n for n in range(1, 10)])],
)
def test_an_axis_has_two_places_at_least(
    page: "Page", last: int, pixels: int, ticks: list[int]
) -> None:
    data = {"lines": [{"x": [10, last], "y": [5, 4]}]}
    call = "async (all) => (await import('gpt2/scales.js')).scalesOf(...all).xTicks"
    assert page.evaluate(call, [data, [0, pixels], [200, 0]]) == ticks


@pytest.mark.parametrize(
    ("others", "window", "expected"),
    [
        ([{"x": [1, 9], "y": [3, 5]}], None, [2.9, 5.1]),  # and 5 % of room
        ([{"x": [], "y": []}], None, [3.3, 62.7]),
        ([{"x": [1, 2], "y": [3, 5]}], [8, 9], [58.95, 60.05]),  # the other has ended before
        ([], None, [3.3, 62.7]),
    ],
)
def test_a_line_that_may_leave_sets_the_axis_only_where_there_is_no_other(
    page: "Page",
    others: list[dict[str, Any]],
    window: list[int] | None,
    expected: list[float],
) -> None:
    wild = {"x": [1, 8, 9], "y": [6, 60, 59], "mayLeave": True}
    data = {"lines": [wild, *others]} | ({"window": window} if window else {})
    call = "async (all) => (await import('gpt2/scales.js')).scalesOf(...all).ys"
    assert page.evaluate(call, [data, [0, 500], [200, 0]]) == pytest.approx(expected)


def test_two_dozen_runs_look_different(page: "Page") -> None:
    colors = page_colors()
    looks = [called(page, "watch/look.js", "lookOf", colors, index) for index in range(24)]
    assert len({str(look) for look in looks}) == 24


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_line_is_seen_on_a_light_and_a_dark_page(page: "Page", scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    for color in page_colors()["series"]:
        lightness = page.evaluate(LIGHTNESS, color)
        assert lightness < 0.8 if scheme == "light" else lightness > 0.65
