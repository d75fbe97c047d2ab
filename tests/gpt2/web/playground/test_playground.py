"""The playground: what a reader can do with a text, and what comes when something goes wrong."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

ONE, TWO, THREE, FOUR = 256, 257, 258, 259  # of the fake's words
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
ENDED = ".sheet:not(.writing) .sheet-facts:has-text(';')"  # the reason comes last

Playground = Callable[..., "Page"]


def write(page: "Page", text: str, sheets: int = 1) -> None:
    """Continue a text, and wait for its end."""
    page.fill("#playground-text", text)
    page.evaluate("document.querySelector('.sheets').replaceChildren()")
    page.click(".main-button")
    for number in range(sheets):
        page.locator(ENDED).nth(number).wait_for()


def shown(page: "Page", number: int = 0) -> str:
    """Return what a sheet says, its prompt first."""
    return page.locator(".sheet-text").nth(number).text_content() or ""


def token(page: "Page", number: int) -> "Locator":
    return page.locator(".token-text").nth(number)


def alternatives(page: "Page") -> "Locator":
    return page.locator(".alternatives:not([hidden])")


def announced(page: "Page", text: str) -> None:
    page.locator("[role=status]", has_text=text).wait_for(state="attached")


def test_a_text_is_continued_token_by_token(playground: Playground, fake: Any) -> None:
    page = playground()
    write(page, "zero")
    assert shown(page) == "zero one two three"
    assert page.locator(".token-text").all_text_contents() == [" one", " two", " three"]
    request = fake.requests[0]
    assert request["prompt"] == list(b"zero")
    assert request["max_tokens"] == 64
    assert request["stream"] and request["return_tokens_as_token_ids"]
    assert page.inner_text(".sheet-facts").startswith("3 new tokens, the first after ")
    announced(page, "one two three")


def test_what_arrives_is_text_and_never_html(playground: Playground, fake: Any) -> None:
    fake.words[0] = "<img src=x onerror=alert(1)>"
    page = playground()
    write(page, "<b>bold</b>")
    assert shown(page) == "<b>bold</b><img src=x onerror=alert(1)> two three"
    token(page, 0).click()
    page.keyboard.press("Escape")
    page.click("summary:has-text('Your texts')")
    assert page.locator("#playground img").count() == 0
    assert page.locator("#playground b").count() == 0


def test_a_token_under_the_pointer_shows_its_probability_and_its_alternatives(
    playground: Playground,
) -> None:
    page = playground()
    write(page, "zero")
    token(page, 1).hover()
    assert "60.7 %" in alternatives(page).locator("p").first.inner_text()  # exp(-0.5)
    entries = alternatives(page).locator("li").all_inner_texts()
    assert [entry.split() for entry in entries] == [
        ["␣two", "60.7", "%"],
        ["␣three", "22.3", "%"],
        ["\\n", "<", "0.1", "%"],
    ]
    page.mouse.move(0, 0)
    alternatives(page).wait_for(state="detached")


def test_a_click_on_an_alternative_goes_on_from_there(playground: Playground, fake: Any) -> None:
    page = playground()
    write(page, "zero")
    fake.writes = [[FOUR, ONE]]
    token(page, 1).click()
    alternatives(page).get_by_role("button", name="three").click()
    page.locator(".token-text", has_text="four").wait_for()
    page.locator(ENDED).wait_for()
    assert fake.requests[1]["prompt"] == [*b"zero", ONE, THREE]
    assert shown(page) == "zero one three four one"
    token(page, 1).hover()
    assert "22.3 %" in alternatives(page).locator("p").first.inner_text()
    page.click("button:has-text('Back')")  # what was there before comes again
    assert shown(page) == "zero one two three"


def test_tokens_and_alternatives_are_reached_by_keys(playground: Playground, fake: Any) -> None:
    page = playground()
    page.focus("#playground-text")
    page.keyboard.type("zero")
    page.keyboard.press("Control+Enter")
    page.locator(ENDED).wait_for()
    page.focus(".flow")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    active = page.locator(".token-text[aria-selected=true]")
    assert active.get_attribute("aria-label") == "“\u2068␣two\u2069”, 60.7 %"
    assert page.get_attribute(".flow", "aria-activedescendant") == active.get_attribute("id")
    assert "60.7 %" in alternatives(page).inner_text()
    fake.writes = [[FOUR]]
    for key in ("Enter", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    page.locator(".token-text", has_text="four").wait_for()
    assert shown(page) == "zero one three four"
    page.locator(".flow:focus").wait_for()
    page.keyboard.press("Enter")
    alternatives(page).locator("button:focus").wait_for()
    page.keyboard.press("Escape")
    page.locator(".flow:focus").wait_for()


def test_a_stopped_text_keeps_what_has_come_and_goes_on(playground: Playground, fake: Any) -> None:
    fake.waits_after = 2
    page = playground()
    page.fill("#playground-text", "zero")
    page.keyboard.press("Control+Enter")
    token(page, 1).wait_for()
    page.keyboard.press("Escape")
    page.locator(ENDED).wait_for()
    assert shown(page) == "zero one two"
    assert "stopped" in page.inner_text(".sheet-facts")
    fake.waits_after, fake.writes = None, [[THREE]]
    page.click("button:has-text('Go on')")
    token(page, 2).wait_for()
    page.locator(ENDED).wait_for()
    assert shown(page) == "zero one two three"
    assert fake.requests[1]["prompt"] == [*b"zero", ONE, TWO]
    assert fake.closed == 1


def test_a_text_is_written_again(playground: Playground, fake: Any) -> None:
    page = playground()
    write(page, "zero")
    fake.writes = [[FOUR]]
    page.click("button:has-text('Again')")
    page.locator(".token-text", has_text="four").wait_for()
    page.locator(ENDED).wait_for()
    assert shown(page) == "zero four"
    assert fake.requests[1]["prompt"] == list(b"zero")
    page.click("button:has-text('Back')")
    assert shown(page) == "zero one two three"
    assert not page.get_by_role("button", name="Text as it was before").is_visible()


def test_a_text_is_edited_anywhere_and_goes_on(playground: Playground, fake: Any) -> None:
    page = playground()
    write(page, "zero")
    page.click("button:has-text('Edit')")
    field = page.locator("#playground-text:focus")
    assert field.input_value() == "zero one two three"
    write(page, "zero 1 two")
    page.locator(".given:has-text('zero 1 two')").wait_for()
    assert fake.requests[1]["prompt"] == list(b"zero 1 two")


def test_several_samples_come_side_by_side_and_each_goes_its_way(
    playground: Playground, fake: Any
) -> None:
    fake.writes = [[ONE, TWO, THREE], [FOUR], [TWO, TWO]]
    page = playground()
    page.select_option("label:has-text('Samples') select", "3")
    write(page, "zero", sheets=3)
    assert fake.requests[0]["n"] == 3
    announced(page, "Text 1: one two three")  # all of them at the end
    texts = [shown(page, number) for number in range(3)]
    assert texts == ["zero one two three", "zero four", "zero two two"]
    fake.writes = [[ONE]]
    page.get_by_role("button", name="Go on with Text 2").click()
    page.locator(".sheet").nth(1).locator(".token-text").nth(1).wait_for()
    assert "n" not in fake.requests[1]
    assert fake.requests[1]["prompt"] == [*b"zero", FOUR]
    assert [shown(page, 0), shown(page, 2)] == [texts[0], texts[2]]


def test_a_text_can_branch_while_the_others_are_written(playground: Playground, fake: Any) -> None:
    fake.writes, fake.waits_after = [[ONE, TWO], [FOUR, FOUR]], 1
    page = playground()
    page.select_option("label:has-text('Samples') select", "2")
    page.fill("#playground-text", "zero")
    page.click(".main-button")
    token(page, 1).wait_for()
    fake.writes, fake.waits_after = [[THREE]], None
    token(page, 0).click()
    alternatives(page).get_by_role("button", name="two").click()
    page.locator(".token-text", has_text="three").wait_for()
    page.locator(ENDED).wait_for()
    assert page.locator(".sheet.writing").count() == 1
    assert [shown(page, 0), shown(page, 1)] == ["zero two three", "zero four"]
    page.keyboard.press("Escape")
    page.wait_for_selector(".sheet.writing", state="detached")


def test_two_models_write_side_by_side_where_there_are_two(
    playground: Playground, fake: Any
) -> None:
    fake.models = {"mine": 1024, "gpt2": 64}
    page = playground()
    page.select_option("label:has-text('Compare with') select", "gpt2")
    write(page, "zero", sheets=2)
    assert sorted(request["model"] for request in fake.requests) == ["gpt2", "mine"]
    assert page.locator(".sheet h3").all_inner_texts() == ["Text of mine", "Text of gpt2"]
    limits = {request["model"]: request["max_tokens"] for request in fake.requests}
    assert limits == {"mine": 64, "gpt2": 60}  # there is no more room in the context


def test_samples_of_two_models_come_in_pairs(playground: Playground, fake: Any) -> None:
    fake.models = {"mine": 1024, "gpt2": 64}
    fake.writes = [[ONE], [TWO]]
    page = playground()
    page.select_option("label:has-text('Compare with') select", "gpt2")
    page.select_option("label:has-text('Samples') select", "2")
    write(page, "zero", sheets=4)
    titles = ["Text 1 of mine", "Text 1 of gpt2", "Text 2 of mine", "Text 2 of gpt2"]
    assert page.locator(".sheet h3").all_inner_texts() == titles


def test_texts_are_beside_each_other_where_there_is_room(playground: Playground, fake: Any) -> None:
    fake.models = {"mine": 1024, "gpt2": 64}
    page = playground()
    page.select_option("label:has-text('Compare with') select", "gpt2")
    write(page, "zero", sheets=2)
    boxes = [sheet.bounding_box() or {} for sheet in page.locator(".sheet").all()]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]


def test_stop_ends_the_texts_of_both_models_and_each_goes_on_by_its_own(
    playground: Playground, fake: Any
) -> None:
    fake.models, fake.waits_after = {"mine": 1024, "gpt2": 64}, 1
    page = playground()
    page.select_option("label:has-text('Compare with') select", "gpt2")
    page.fill("#playground-text", "zero")
    page.click(".main-button")
    for number in range(2):
        token(page, number).wait_for()
    page.click(".main-button:has-text('Stop')")
    page.locator(ENDED).nth(1).wait_for()
    page.locator(".main-button:has-text('Continue')").wait_for()
    assert [shown(page, 0), shown(page, 1)] == ["zero one", "zero one"]
    fake.waits_after, fake.writes = None, [[FOUR]]
    page.get_by_role("button", name="Go on with Text of gpt2").click()
    page.locator(".token-text", has_text="four").wait_for()
    page.locator(ENDED).nth(1).wait_for()
    assert [shown(page, 0), shown(page, 1)] == ["zero one", "zero one four"]
    assert (fake.requests[2]["model"], fake.requests[2]["prompt"]) == ("gpt2", [*b"zero", ONE])
    assert fake.closed == 2


def test_a_new_start_ends_what_is_being_written(playground: Playground, fake: Any) -> None:
    fake.waits_after = 1
    page = playground()
    page.fill("#playground-text", "zero")
    page.keyboard.press("Control+Enter")
    token(page, 0).wait_for()
    fake.waits_after = None
    page.fill("#playground-text", "two")
    page.keyboard.press("Control+Enter")
    page.locator(".given:has-text('two')").wait_for()
    page.locator(ENDED).wait_for()
    assert page.locator(".sheet").count() == 1
    assert shown(page) == "two one two three"
    assert fake.closed == 1


def test_a_text_that_begins_is_brought_into_view(playground: Playground) -> None:
    page = playground()
    page.set_viewport_size({"width": 800, "height": 400})
    write(page, "zero")
    expect(page.locator(".sheet")).to_be_in_viewport(ratio=0.5)


def test_one_model_has_no_other_beside_it(playground: Playground) -> None:
    assert playground().locator("label:has-text('Compare with')").count() == 0


def test_settings_reach_the_server(playground: Playground, fake: Any) -> None:
    page = playground()
    page.fill("#knob-temperature", "0.5")
    page.fill("#knob-top_p", "0.9")
    page.fill("#knob-top_k", "40")
    page.fill("#knob-min_p", "0.05")
    page.fill("#knob-repetition_penalty", "1.2")
    page.fill("#knob-presence_penalty", "-0.5")
    page.fill("#knob-frequency_penalty", "0.25")
    page.fill("#knob-max_tokens", "7")
    page.fill("#knob-seed", "3")
    page.fill("#knob-stop", "a b\n\\n\\n")
    write(page, "zero")
    known = {name: fake.requests[0].get(name) for name in SETTINGS}
    assert known == SETTINGS
    page.click("text=Reset all")
    write(page, "zero")
    assert set(fake.requests[1]) & set(SETTINGS) == {"temperature", "max_tokens"}


SETTINGS = {
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 40,
    "min_p": 0.05,
    "repetition_penalty": 1.2,
    "presence_penalty": -0.5,
    "frequency_penalty": 0.25,
    "max_tokens": 7,
    "seed": 3,
    "stop": ["a b", "\n\n"],
}


def test_a_slider_and_its_number_follow_each_other(playground: Playground) -> None:
    page = playground()
    slider = page.get_by_role("slider", name="Temperature")
    slider.press("ArrowRight")
    assert page.input_value("#knob-temperature") == "1.01"
    page.fill("#knob-temperature", "9")
    page.press("#knob-temperature", "Tab")
    assert page.input_value("#knob-temperature") == "2"  # there is no more
    assert slider.input_value() == "2"
    page.click("[aria-label='Reset Temperature']")
    assert page.input_value("#knob-temperature") == "1"
    page.get_by_role("slider", name="Top-k").press("Home")
    assert page.input_value("#knob-top_k") == "1"


def test_tokens_are_counted_against_the_context(playground: Playground) -> None:
    page = playground()
    page.fill("#playground-text", "zero")
    page.wait_for_selector("output:has-text('4 tokens; 1,020 more fit')")
    page.fill("#playground-text", "")
    page.wait_for_selector("output:has-text('the model begins a new one')")


def test_a_full_context_is_said(playground: Playground, fake: Any) -> None:
    fake.models = {"fake": 7}
    page = playground()
    page.fill("#playground-text", "7 bytes")
    page.wait_for_selector("output:has-text('reads 7 tokens at most')")
    assert page.inner_text(".prompt output").startswith("7 tokens. ")
    page.click(".main-button")
    page.wait_for_selector(".trouble:has-text('The context is full')")
    write(page, "zero")  # there is room for three tokens
    assert "The context is full" in page.inner_text(".sheet .trouble")
    assert page.inner_text(".sheet-facts").endswith("; the context is full")
    page.click("button:has-text('Go on')")
    page.click("button:has-text('Edit')")
    assert len(fake.requests) == 1


@pytest.mark.parametrize("name", ["curl", "Python"])
def test_the_request_that_is_shown_works_elsewhere(
    playground: Playground, fake: Any, name: str
) -> None:
    page = playground()
    text = 'it\'s "a"\n\\n $HOME `x` é 🎉 </script>'
    page.fill("#playground-text", text)
    page.fill("#knob-top_k", "40")
    page.fill("#knob-seed", "3")
    page.fill("#knob-stop", "it's\\n")
    page.click("summary:has-text('The same as a request')")
    region = page.get_by_role("region", name=f"The request as {name}")
    expect(region).to_contain_text("completions")  # which is written once it has opened
    shown = region.text_content() or ""
    if name == "curl":
        command = ["bash", "-c", shown]
    else:
        pytest.importorskip("openai")
        command = [sys.executable, "-c", shown]
    said = subprocess.run(command, capture_output=True, timeout=60, text=True)
    assert " one two three" in said.stdout, said.stderr
    assert fake.requests[-1] == {
        "model": "fake",
        "prompt": text,
        "max_tokens": 64,
        "temperature": 1,
        "top_k": 40,
        "seed": 3,
        "stop": ["it's\n"],
    }


def test_texts_are_kept_over_a_reload_and_opened_and_deleted(playground: Playground) -> None:
    page = playground()
    for text in ("first", "second"):
        write(page, text)
    page.reload()
    page.click("summary:has-text('Your texts (2)')")
    kept = page.locator(".shelf-open bdi")
    assert kept.all_inner_texts() == ["second one two three", "first one two three"]
    kept.nth(1).click()
    assert page.input_value("#playground-text") == "first one two three"
    page.click("[aria-label='Delete second one two three']")
    assert kept.all_inner_texts() == ["first one two three"]
    page.click("text=Delete all")
    page.click("text=Delete 1 text: click again")
    page.wait_for_selector("summary:has-text('Your texts (0)')")
    page.reload()
    page.wait_for_selector("summary:has-text('Your texts (0)')")


def test_what_goes_on_is_kept_once_and_what_branches_beside_it(
    playground: Playground, fake: Any
) -> None:
    page = playground()
    write(page, "zero")
    page.click("button:has-text('Go on')")
    token(page, 5).wait_for()
    page.locator(ENDED).wait_for()
    page.wait_for_selector("summary:has-text('Your texts (1)')")
    page.click("button:has-text('Again')")
    page.wait_for_selector("summary:has-text('Your texts (2)')")


def test_it_works_where_the_browser_stores_nothing(playground: Playground, fake: Any) -> None:
    page = playground()
    page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new Error('refused'); } })"
    )
    page.reload()
    write(page, "zero")
    page.click("summary:has-text('Your texts (1)')")
    page.wait_for_selector("text=This browser stores nothing")
    assert page.locator(".shelf-open bdi").inner_text() == "zero one two three"


@pytest.mark.parametrize("status", [429, 400, 503])
def test_an_error_is_said_in_place(playground: Playground, fake: Any, status: int) -> None:
    fake.error = (status, "up to 64 texts may be written, and 64 are; try again later")
    page = playground(expected=(status,))
    page.fill("#playground-text", "zero")
    page.click(".main-button")
    page.wait_for_selector(".sheet .trouble:has-text('try again later')")
    fake.error = None
    page.click("button:has-text('Go on')")
    page.locator(ENDED).wait_for()
    assert shown(page) == "zero one two three"
    assert not page.locator(".sheet .trouble").is_visible()


@pytest.mark.parametrize(
    ("what", "said"), [("breaks_after", "broke off"), ("fails_after", "The engine failed.")]
)
def test_what_has_come_stays_when_a_stream_breaks(
    playground: Playground, fake: Any, what: str, said: str
) -> None:
    setattr(fake, what, 2)
    page = playground()
    page.fill("#playground-text", "zero")
    page.click(".main-button")
    page.wait_for_selector(f".sheet .trouble:has-text('{said}')")
    announced(page, said)
    assert shown(page) == "zero one two"
    setattr(fake, what, None)
    fake.writes = [[THREE]]
    page.click("button:has-text('Go on')")
    page.locator(ENDED).wait_for()
    assert shown(page) == "zero one two three"


def test_characters_of_several_tokens_are_whole(playground: Playground, fake: Any) -> None:
    fake.writes = [list("é🎉 שלום\t\n".encode())]
    page = playground()
    write(page, "caf")
    assert shown(page) == "café🎉 שלום\t\n"
    tokens = page.locator(".token-text").all_text_contents()
    assert tokens[:7] == ["", "é", "", "", "", "🎉", " "]
    token(page, 0).hover()
    assert "\\xc3" in alternatives(page).inner_text()


def test_a_character_that_lacks_bytes_is_finished_when_the_text_goes_on(
    playground: Playground, fake: Any
) -> None:
    fake.writes = [[ONE, 0xC3]]
    page = playground()
    write(page, "zero")
    assert shown(page) == "zero one"
    fake.writes = [[0xA9, TWO]]
    page.click("button:has-text('Go on')")
    token(page, 3).wait_for()
    page.locator(ENDED).wait_for()
    page.wait_for_selector(".sheet-text:has-text('zero oneé two')")
    assert fake.requests[1]["prompt"] == [*b"zero", ONE, 0xC3]


def test_a_text_goes_on_before_the_stop_string_that_cut_a_token(
    playground: Playground, fake: Any
) -> None:
    fake.reason, fake.hidden = "stop", 3
    page = playground()
    write(page, "zero")
    assert shown(page) == "zero one two th"
    fake.reason, fake.hidden = "length", 0
    page.click("button:has-text('Go on')")
    token(page, 6).wait_for()
    page.locator(ENDED).wait_for()
    assert fake.requests[1]["prompt"] == [*b"zero", ONE, TWO, *b" th"]
    assert shown(page) == "zero one two th one two three"


def test_a_thousand_tokens_are_added_and_nothing_is_drawn_again(
    playground: Playground, fake: Any
) -> None:
    fake.models, fake.writes = {"fake": 2048}, [[ONE + i % 4 for i in range(1000)]]
    page = playground()
    page.evaluate(COUNT_REMOVED)
    write(page, "zero")
    assert page.locator(".token-text").count() == 1000
    assert shown(page) == "zero" + " one two three four" * 250
    assert page.evaluate("window.removed") == 0


COUNT_REMOVED = """() => {
    window.removed = 0;
    const note = (changes) => changes.forEach(({ target, removedNodes }) => {
        if (target.closest?.(".flow")) window.removed += removedNodes.length;
    });
    new MutationObserver(note).observe(document.body, { childList: true, subtree: true });
}"""


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_is_wider_than_the_window(playground: Playground, fake: Any, width: int) -> None:
    fake.models = {"runs/a-rather-long-name-of-a-run-that-is-served": 1024, "gpt2": 1024}
    fake.words[0] = "a" * 200
    page = playground()
    page.set_viewport_size({"width": width, "height": 800})
    page.reload()
    write(page, "b" * 300)
    for summary in page.locator("#playground summary").all():
        summary.click()
    token(page, 0).click()
    alternatives(page).wait_for()
    assert page.evaluate(WIDER) == 0
    box = alternatives(page).bounding_box()
    assert box and box["x"] >= 0 and box["x"] + box["width"] <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(playground: Playground, fake: Any, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    fake.models = {"mine": 1024, "gpt2": 1024}
    page = playground()
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    found = axe.run(page).response["violations"]
    write(page, "zero")
    page.check(".tint-choice input")
    page.click("summary:has-text('Your texts')")
    page.click("summary:has-text('The same as a request')")
    found += axe.run(page).response["violations"]
    token(page, 1).click()
    alternatives(page).wait_for()
    found += axe.run(page).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []


def test_the_policy_of_the_page_forbids_nothing_that_it_does(playground: Playground) -> None:
    page = playground()
    page.evaluate("addEventListener('securitypolicyviolation', () => (window.violated = true))")
    write(page, "zero")
    token(page, 1).hover()
    assert json.dumps(page.evaluate("window.violated ?? false")) == "false"
