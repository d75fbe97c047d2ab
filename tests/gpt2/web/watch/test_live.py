"""The page of runs follows what is written to their files, without being loaded again."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

Watch = Callable[..., str]
Served = Callable[..., "Page"]
WriteMoment = Callable[[Any, int], None]

GONE = ["ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", 503]
NOT_LOADED_AGAIN = "window.loadedOnce === true"


@pytest.fixture
def page(run: Any, watch: Watch, served_page: Served) -> "Page":
    """The page of the run, which knows whether it is loaded again."""
    page = served_page(watch(run))
    shows(page, ".place", "Step 10 of 40")
    page.evaluate("window.loadedOnce = true")
    return page


def shows(page: "Page", where: str, text: str) -> None:
    """Wait until an element has a text."""
    page.locator(where, has_text=text).first.wait_for(state="attached")


def fact(page: "Page", name: str, value: str) -> None:
    """Wait until a fact of the run has a value."""
    exactly = re.compile(f"^{re.escape(value)}{re.escape(name)}$|^{re.escape(name + value)}$")
    page.locator(".facts > div").filter(has_text=exactly).first.wait_for()


def test_a_new_step_is_shown(page: "Page", run: Any) -> None:
    fact(page, "training loss", "5.000")
    run.train(11, 12)
    shows(page, ".place", "Step 12 of 40, about")
    fact(page, "training loss", "4.800")
    fact(page, "tokens read", "2,880")
    assert page.title() == "30 %: small"
    assert page.locator("progress").evaluate("e => e.value") == pytest.approx(0.3)
    assert page.evaluate(NOT_LOADED_AGAIN)


def test_a_line_that_is_half_written_waits_for_its_rest(page: "Page", run: Any) -> None:
    run.train(11, 11)
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 12, "lo')
    shows(page, ".place", "Step 11 of 40")
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write('ss": 1.5}\n')
    fact(page, "training loss", "1.500")


def test_a_new_step_is_in_the_chart_and_its_numbers(page: "Page", run: Any) -> None:
    chart = page.locator(".line-chart").first
    chart.locator("path.line[d]").first.wait_for(state="attached")
    run.train(11, 20)
    shows(page, ".place", "Step 20 of 40")
    page.locator(".chart text:text-is('20')").first.wait_for()
    chart.locator("summary").click()
    last = chart.locator("tbody tr").last
    shows(page, ".line-chart tbody tr:last-child td:first-child", "20")
    assert last.locator("td").all_inner_texts()[:2] == ["20", "4"]


def test_samples_are_shown_newest_first_and_what_stays_is_pale(page: "Page", run: Any) -> None:
    shows(page, ".prompts h3", "The function")
    run.train(11, 15)
    run.evaluate(15, 5.0, " returns a list")
    shows(page, ".prompts li:first-child", "step 15")
    run.evaluate(16, 5.0, " returns a string")
    shows(page, ".prompts li:first-child", "step 16")
    assert page.locator(".prompts li").all_inner_texts() == [
        "step 16\n returns a string",
        "step 15\n returns a list",
        "step 10\n returns",
    ]
    assert page.locator(".prompts li .muted").all_text_contents() == [
        " returns a ",
        " returns ",
        "",
    ]


def test_earlier_samples_are_there_on_demand(page: "Page", run: Any) -> None:
    run.append(*map(run.step_row, range(11, 18)))
    for step in range(11, 18):
        run.evaluate(step, 5.0)
    shows(page, ".prompts li:first-child", "step 17")
    assert page.locator(".prompts li").count() == 4
    page.click("text=Earlier samples")
    assert page.locator(".prompts li").count() == 8
    assert page.locator("text=Earlier samples").is_hidden()


def test_a_new_checkpoint_is_listed_with_its_size(page: "Page", run: Any) -> None:
    assert page.locator("#checkpoints").is_hidden()
    run.save_checkpoint(10)
    row = page.locator("#checkpoints tbody tr")
    row.wait_for()
    step, size, loss, state = row.locator("td").all_inner_texts()
    assert (step, loss, state) == ("10", "5.250", "complete, the best")
    assert size.endswith(" kB")
    assert page.locator(".bar a[href='#checkpoints']").is_visible()


def test_a_new_evaluation_is_listed_beside_other_models(page: "Page", run: Any) -> None:
    run.append(
        {
            "evaluation": "hellaswag",
            "step": 10,
            "acc_norm": 0.2634,
            "standard_errors": {"acc_norm": 0.0044},
            "references": {"acc_norm": {"GPT-2 124M": 0.3114}},
            "data": [[f"/data/{name}.jsonl", "0" * 64] for name in "abcde"],
        },
        name="evaluations.jsonl",
    )
    row = page.locator("#evaluations tbody tr")
    row.wait_for()
    shown = row.locator("td").all_inner_texts()
    files = "a.jsonl, b.jsonl, c.jsonl and 2 more"
    figures = ["10", "acc norm", "0.2634 ± 0.0044", "GPT-2 124M: 0.3114"]
    assert shown == ["hellaswag", files, *figures]


def test_a_skipped_step_is_marked_and_noted(page: "Page", run: Any) -> None:
    run.append(run.step_row(11) | {"loss": None, "grad_norm": None, "skipped": True})
    shows(page, ".notes li", "1 step was skipped, the last at step 11")
    page.locator(".legend", has_text="skipped step").first.wait_for()
    assert page.locator(".chart path.tooth").get_attribute("d")
    fact(page, "training loss", "not finite")


def test_a_run_that_diverges_is_called_so_and_announced(page: "Page", run: Any) -> None:
    run.append({"step": 10, "val_loss": None})
    shows(page, ".verdict[data-place=faulty]", "At step 10 the held-out loss is not finite.")
    shows(page, "[role=status]", "small: Not normal. At step 10 the held-out loss is not finite.")
    fact(page, "held-out loss", "not finite")


def test_a_metrics_file_that_is_replaced_takes_the_page_back(page: "Page", run: Any) -> None:
    run.train(11, 20)
    shows(page, ".place", "Step 20 of 40")
    cut = run.path / "cut.jsonl"
    lines = (run.path / "metrics.jsonl").read_text().splitlines(keepends=True)
    cut.write_text("".join(lines[:7]))
    cut.replace(run.path / "metrics.jsonl")
    shows(page, ".place", "Step 7 of 40")
    fact(page, "training loss", "5.300")
    run.train(8, 8)
    shows(page, ".place", "Step 8 of 40")
    assert page.evaluate(NOT_LOADED_AGAIN)


def test_new_moments_come_and_the_slider_follows_if_it_is_at_its_end(
    page: "Page", run: Any, write_moment_of: WriteMoment
) -> None:
    write_moment_of(run, 0)
    page.locator("#moments").wait_for()
    page.locator("#moments").scroll_into_view_if_needed()
    shows(page, ".moment-control output", "step 0,")
    write_moment_of(run, 1)
    shows(page, ".moment-control output", "step 5,")
    page.locator(".moment-control input").press("ArrowLeft")
    shows(page, ".moment-control output", "step 0,")
    write_moment_of(run, 2)
    page.locator(".moment-control input[max='2']").wait_for()
    shows(page, ".moment-control output", "step 0,")
    assert page.locator(".moment-control input").evaluate("e => e === document.activeElement")
    page.locator(".moment-control input").press("End")
    shows(page, "#moments blockquote", "at 10")


def test_a_new_moment_leaves_the_chosen_head_and_open_numbers(
    page: "Page", run: Any, write_moment_of: WriteMoment
) -> None:
    write_moment_of(run, 0)
    page.locator("#moments").wait_for()
    page.locator("#moments").scroll_into_view_if_needed()
    maps = page.locator("#moments .all-heads .plane")
    for key in ("ArrowUp", "ArrowUp", "ArrowUp", "Home", "ArrowRight", "ArrowDown", "Enter"):
        maps.press(key)
    shows(page, "#moments .pair figcaption", "Attention of block 1, head 1")
    page.locator("#moments summary", has_text="all moments").click()
    shows(page, "#moments td", "at 0")
    write_moment_of(run, 1)
    shows(page, "#moments td", "at 5")
    shows(page, "#moments .pair figcaption", "Attention of block 1, head 1")


def test_a_run_that_is_not_there_yet_begins(
    new_run: Callable[..., Any], watch: Watch, served_page: Served
) -> None:
    run = new_run()
    page = served_page(watch(run))
    shows(page, ".phase", "waiting for its first step")
    page.locator("text=No step is recorded yet").wait_for()
    run.train(1, 1)
    shows(page, ".place", "Step 1 of 40")
    page.locator(".chart path.line[d*='a2 2']").first.wait_for(state="attached")  # a dot
    assert page.locator("text=No step is recorded yet").is_hidden()


def test_a_directory_without_settings_is_named_as_such(
    new_run: Callable[..., Any], watch: Watch, served_page: Served
) -> None:
    run = new_run("a run's")
    (run.path / "config.toml").rename(run.path / "later.toml")
    page = served_page(watch(run))
    shows(page, ".place", "No config.toml is there yet.")
    command = page.locator("footer code, main code").last.inner_text()
    assert command.startswith("gpt2 watch '") and command.endswith("/a run'\\''s'")
    (run.path / "later.toml").rename(run.path / "config.toml")
    shows(page, ".place", "Step 0 of 40")


def test_the_end_of_a_run_is_shown_and_announced(page: "Page", run: Any) -> None:
    run.train(11, 40)
    run.evaluate(40, 2.5)
    (run.path / "report.md").write_text("# Report\n")
    shows(page, ".phase", "ended")
    shows(page, "[role=status]", "small: ended at step 40")


def test_an_evaluation_is_announced_and_a_step_is_not(page: "Page", run: Any) -> None:
    run.train(11, 14)
    shows(page, ".place", "Step 14 of 40")
    assert page.locator("[role=status]").all_text_contents() in ([], [""])
    run.train(15, 15)
    run.evaluate(15, 4.5)
    shows(page, "[role=status]", "small: held-out loss 4.500 at step 15")


def test_the_page_comes_back_when_its_server_does(
    run: Any, served_page: Served, watching: Any
) -> None:
    with watching(run, port=0) as watched:
        page = served_page(watched.url + "/run", expected=GONE)
        shows(page, ".place", "Step 10 of 40")
        port = int(watched.url.rpartition(":")[2])
    shows(page, ".notice", "the page tries again by itself")
    shows(page, ".place", "Step 10 of 40")
    run.train(11, 11)
    with watching(run, port=port):
        shows(page, ".place", "Step 11 of 40")
        assert page.locator(".notice").inner_text() == ""


def test_a_server_with_a_key_asks_for_it(run: Any, watch: Watch, served_page: Served) -> None:
    page = served_page(watch(run, api_key="secret"), expected=[401])
    page.click("dialog >> text=Cancel")
    page.click("text=Give the key")
    page.fill("dialog input", "secret")
    page.click("dialog >> text=Use this key")
    shows(page, ".place", "Step 10 of 40")
    with page.expect_download() as download:
        page.click("text=Save")
    assert download.value.suggested_filename == "small.html"


def test_two_runs_are_overlaid_and_each_can_be_hidden(
    run: Any, new_run: Callable[..., Any], watch: Watch, served_page: Served
) -> None:
    other = new_run("other")
    other.train(1, 20)
    other.evaluate(20, 4.25, " is small")
    page = served_page(watch(run, other))
    assert page.locator("h1").inner_text() == "2 runs"
    shows(page, ".run:nth-child(1) .place", "Step 10 of 40")
    shows(page, ".run:nth-child(2) .place", "Step 20 of 40")
    chart = page.locator(".line-chart").first
    drawn = chart.locator(".chart path.line[d]")
    drawn.nth(1).wait_for(state="attached")
    strokes = drawn.evaluate_all("all => all.map(e => e.style.color)")
    assert len(set(strokes)) == len(strokes) == 2
    buttons = page.get_by_role("group", name="Runs shown")
    assert buttons.get_by_role("button").all_inner_texts() == ["small", "other"]
    buttons.get_by_role("button", name="other").click()
    drawn.nth(1).wait_for(state="detached")
    run.train(11, 12)
    shows(page, ".run:nth-child(1) .place", "Step 12 of 40")
    assert drawn.count() == 1


def test_the_bar_names_the_runs_and_the_charts_have_their_values_where_the_pointer_is(
    run: Any, new_run: Callable[..., Any], watch: Watch, served_page: Served
) -> None:
    other = new_run("other")
    other.append(*(run.step_row(step) | {"loss": 4.5} for step in range(1, 11)))
    page = served_page(watch(run, other))
    charts = page.locator(".line-chart", has_text="Training loss")
    charts.scroll_into_view_if_needed()
    charts.locator("path.line[d]").nth(1).wait_for(state="attached")
    readings = charts.locator(".legend > span")
    assert [readings.nth(i).is_visible() for i in range(2)] == [False, False]
    box: Any = charts.locator(".chart").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 13, box["y"] + 100)
    readings.nth(1).wait_for()
    assert readings.all_inner_texts() == ["5", "4.5"]


def test_a_run_that_has_diverged_leaves_the_picture_to_the_others(
    run: Any, new_run: Callable[..., Any], watch: Watch, served_page: Served
) -> None:
    wild = new_run("wild")
    wild.append(*(run.step_row(step) | {"loss": 6.0 * step} for step in range(1, 11)))
    wild.evaluate(10, 60.0)
    page = served_page(watch(run, wild))
    training = page.locator(".line-chart", has_text="Training loss")
    training.scroll_into_view_if_needed()
    shows(page, ".above", "Above the picture: wild, up to 60.")
    ticks = training.locator(".chart text").all_text_contents()
    assert "5.4" in ticks
    assert "60" not in ticks
    page.get_by_role("group", name="Runs shown").get_by_role("button", name="small").click()
    training.locator(".chart text", has_text="60").wait_for()
    assert training.locator(".above").inner_text() == ""


def test_samples_are_of_the_run_that_is_chosen(
    run: Any, new_run: Callable[..., Any], watch: Watch, served_page: Served
) -> None:
    other = new_run("other")
    other.train(1, 20)
    other.evaluate(20, 4.25, " is small")
    page = served_page(watch(run, other))
    shows(page, ".prompts li", "returns")
    page.locator("#samples").get_by_role("button", name="other").click()
    shows(page, ".prompts li", "is small")
    assert page.locator(".prompts li").count() == 1


def test_the_moments_of_a_chosen_run_without_any_are_said_to_be_missing(
    run: Any,
    new_run: Callable[..., Any],
    watch: Watch,
    served_page: Served,
    write_moment_of: WriteMoment,
) -> None:
    other = new_run("other")
    write_moment_of(other, 0)
    page = served_page(watch(run, other))
    shows(page, "#moments", "This run has no moments yet.")
    page.locator("#moments").get_by_role("button", name="other").click()
    shows(page, "#moments blockquote", "at 0")


def test_the_axis_counts_what_the_reader_wants(page: "Page", run: Any) -> None:
    chart = page.locator(".line-chart").first
    chart.locator("summary").click()
    for over, name, last in (("tokens", "tokens read", "2400"), ("hours", "hours of", "0.00067")):
        page.get_by_label("Over").select_option(over)
        shows(page, ".line-chart th:first-child", name)
        shown = chart.locator("tbody tr:last-child td").first.inner_text()
        assert float(shown) == pytest.approx(float(last), rel=0.01)
    page.get_by_label("logarithmic").check()
    page.get_by_label("Over").select_option("steps")
    page.locator(".chart text:text-is('1')").first.wait_for()


def test_a_part_of_the_run_can_be_looked_at(page: "Page", run: Any) -> None:
    run.train(11, 20)
    shows(page, ".place", "Step 20 of 40")
    ticks = page.locator(".line-chart:first-child .chart text")
    ticks.get_by_text("20", exact=True).wait_for()
    tick = ticks.get_by_text("13", exact=True)
    assert tick.count() == 0
    page.get_by_label("Show").select_option("the last half")
    tick.wait_for()


def test_the_pointer_reads_all_charts_at_once(page: "Page") -> None:
    chart = page.locator(".chart").first
    chart.locator("path.line[d]").first.wait_for(state="attached")
    box: Any = chart.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 13, box["y"] + 100)
    shows(page, ".line-chart:nth-child(1) .legend output", "5")
    shows(page, ".line-chart:nth-child(2) .legend output", "0.01")


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_is_wider_than_the_window(page: "Page", width: int, run: Any) -> None:
    run.save_checkpoint(10)
    page.set_viewport_size({"width": width, "height": 800})
    page.locator("#checkpoints tbody tr").wait_for()
    wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.evaluate(wider) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(
    page: "Page", scheme: Any, run: Any, write_moment_of: WriteMoment
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    run.save_checkpoint(10)
    write_moment_of(run, 0)
    page.locator("#checkpoints tbody tr").wait_for()
    page.locator("#moments").scroll_into_view_if_needed()
    page.locator(".moment-control").wait_for()
    for summary in page.locator(".line-chart summary:visible").all():
        summary.click()
    found = axe.run(page).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []
