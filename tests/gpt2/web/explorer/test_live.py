"""The page of a server, looking inside a text while the reader types, in a browser."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import torch

from gpt2.files.pretrained import GPT2
from gpt2.visual.capture import record

pytest.importorskip("playwright")
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page, Route

TEXT = "Permission is hereby"
PARTS = ["Tokens", "Attention", "One head, step by step", "Attention as matrix multiplication"]
PARTS += ["Residual stream", "Logit lens", "The next token"]
PHONE: Any = {"width": 375, "height": 740}
LONG = "a b c d e f g h i j k l m n o p q r s t u v w x y z"
# Timers end in order: the page's, which began before, has ended by then.
AFTER_PAUSE = "new Promise((resolve) => setTimeout(resolve, 100))"
WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"

Opened = Callable[..., "Page"]


@pytest.fixture
def page(served: Any, served_page: Opened) -> "Page":
    """The page of the tiny model, with a text typed."""
    page = served_page(served.url)
    page.emulate_media(reduced_motion="reduce")
    typed(page, TEXT)
    return page


def typed(page: "Page", text: str) -> None:
    page.locator("#live-text").fill(text)


def part(page: "Page", title: str) -> "Locator":
    """Return a part once it is drawn, which it is near the screen alone."""
    found = page.locator("#inside .inside-part").nth(PARTS.index(title))
    found.evaluate("e => e.scrollIntoView({ behavior: 'instant' })")
    expect(found.locator(":scope > div > *").first).to_be_attached()
    expect(found.locator(":scope > [aria-busy]")).to_have_count(0)
    return found


def ids_of(page: "Page") -> "Locator":
    return part(page, "Tokens").locator(".token small")


def model_of(served: Any) -> GPT2:
    model: GPT2 = served.models.find(None).whole()
    return model


def ids(served: Any, text: str) -> list[int]:
    return model_of(served).require_tokenizer().encode(text)


def as_texts(ids: list[int]) -> list[str]:
    return [str(i) for i in ids]


def test_tokens_follow_what_is_typed(page: "Page", served: Any) -> None:
    expect(ids_of(page)).to_have_text(as_texts(ids(served, TEXT)))
    page.locator("#live-text").press_sequentially(" x")
    expect(ids_of(page)).to_have_text(as_texts(ids(served, f"{TEXT} x")))
    expect(page.locator("#live-count")).to_have_text(f"{len(ids(served, f'{TEXT} x'))} tokens")


def test_who_types_faster_than_the_model_sees_each_answer_and_then_the_last(
    page: "Page", served: Any
) -> None:
    expect(ids_of(page)).to_have_text(as_texts(ids(served, TEXT)))
    held: list[Route] = []
    page.route("**/explore/inside", lambda route: held.append(route))
    with page.expect_request("**/explore/inside"):
        typed(page, "early")
    expect(page.locator(".working")).to_be_visible()
    for text in ("between", "late"):
        typed(page, text)
        page.evaluate(AFTER_PAUSE)

    with page.expect_request("**/explore/inside") as asked:
        held.pop().continue_()
    expect(ids_of(page)).to_have_text(as_texts(ids(served, "early")))
    assert json.loads(asked.value.post_data or "")["text"] == "late"
    assert page.locator("#live-text").input_value() == "late"
    held.pop().continue_()

    expect(ids_of(page)).to_have_text(as_texts(ids(served, "late")))
    expect(page.locator(".working")).to_be_hidden()
    assert held == []  # "between" is not asked for


def test_next_tokens_are_those_of_the_model(page: "Page", served: Any) -> None:
    logits = record(model_of(served), ids(served, TEXT)).logits[-1]
    likeliest = logits.softmax(dim=-1).topk(3)
    bars = part(page, "The next token").locator(".bars li")
    expect(part(page, "The next token").locator(".token")).to_have_count(len(ids(served, TEXT)))
    for i, (share, token) in enumerate(zip(*map(torch.Tensor.tolist, likeliest), strict=True)):
        expect(bars.nth(i)).to_have_attribute("data-id", str(token))
        expect(bars.nth(i).locator(".bar-share")).to_have_text(f"{100 * share:.1f} %")


def test_the_lens_comes_by_itself(page: "Page", served: Any) -> None:
    model = model_of(served)
    recording = record(model, ids(served, TEXT))
    with torch.no_grad():
        top = model.logits(model.ln_f(recording.stream()[::2])).softmax(-1).max(-1).values
    lens = part(page, "Logit lens")
    expect(lens.locator("thead th")).to_have_count(len(recording.ids))
    expect(lens.locator("tbody td")).to_have_count(top.numel())
    expect(lens.locator("li").first).to_contain_text(f"{100 * top[-1, -1]:.1f} %")


def test_what_is_chosen_stays_when_the_text_changes(page: "Page", served: Any) -> None:
    steps = part(page, "One head, step by step")
    steps.locator("select").nth(0).select_option("1")
    steps.locator("select").nth(1).select_option("3")
    steps.get_by_role("button", name="3. Mask").click()
    tokens = part(page, "Tokens").locator(".token")
    tokens.nth(1).click()

    typed(page, f"{TEXT} x")

    expect(tokens).to_have_count(len(ids(served, f"{TEXT} x")))
    expect(tokens.nth(1)).to_have_attribute("aria-checked", "true")
    steps = part(page, "One head, step by step")
    expect(steps.locator("select").nth(0)).to_have_value("1")
    expect(steps.locator("select").nth(1)).to_have_value("3")
    expect(steps.locator("[aria-current=true]")).to_have_text("3. Mask")
    heads = part(page, "Attention").locator("figcaption").nth(1)
    expect(heads).to_have_text("Block 1, head 3")


def test_the_last_token_stays_chosen_while_the_text_grows(page: "Page", served: Any) -> None:
    tokens = part(page, "Tokens").locator(".token")
    for text in (TEXT, f"{TEXT} x y", "a"):
        typed(page, text)
        expect(tokens).to_have_count(len(ids(served, text)))
        expect(tokens.last).to_have_attribute("aria-checked", "true")


def test_tables_stay_open_and_boxes_scrolled(page: "Page", served: Any) -> None:
    heads = part(page, "Attention")
    heads.locator("summary").first.click()
    expect(heads.locator("table").first).to_be_visible()
    heads.locator(".behind .scroll").first.evaluate("e => e.scrollTo(0, 40)")
    page.locator("#live-text").evaluate("""e => {
        e.value += " x"; e.dispatchEvent(new Event("input"));
    }""")
    expect(heads.locator(".one-head .token")).to_have_count(len(ids(served, f"{TEXT} x")))
    expect(heads.locator("table").first).to_be_visible()


def test_a_reader_walks_from_token_to_token_by_keys_and_back(page: "Page", served: Any) -> None:
    walked = ids(served, TEXT)
    take = part(page, "The next token").get_by_role("button", name="Append the likeliest")
    take.focus()
    for _ in range(2):
        walked.append(int(record(model_of(served), walked).logits[-1].argmax()))
        page.keyboard.press("Enter")
        tokens = part(page, "The next token").locator(".token")
        expect(tokens).to_have_count(len(walked))
        expect(take).to_be_focused()
    expect(ids_of(page)).to_have_text(as_texts(walked))
    decoded = model_of(served).require_tokenizer().decode(walked)
    expect(page.locator("#live-text")).to_have_value(decoded)
    page.get_by_role("button", name="Undo").click()
    expect(ids_of(page)).to_have_text(as_texts(walked[:-1]))
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#live-text")).to_have_value(TEXT)
    expect(page.get_by_role("button", name="Undo")).to_be_hidden()


def test_a_token_of_the_list_goes_on_from_the_chosen_position(page: "Page", served: Any) -> None:
    after = part(page, "The next token")
    after.locator(".token").nth(1).click()
    expect(after).to_contain_text("After token 1")
    third = after.locator(".bars li").nth(2)
    chosen = int(third.get_attribute("data-id") or "")
    third.get_by_role("button").click()
    expect(ids_of(page)).to_have_text(as_texts([*ids(served, TEXT)[:2], chosen]))


def test_a_token_is_drawn_from_what_the_sliders_keep(page: "Page", served: Any) -> None:
    after = part(page, "The next token")
    after.locator("input").nth(0).fill("0")  # always the likeliest
    after.get_by_role("button", name="Draw one and append it").click()
    first = ids(served, TEXT)
    likeliest = int(record(model_of(served), first).logits[-1].argmax())
    expect(ids_of(page)).to_have_text(as_texts([*first, likeliest]))
    expect(part(page, "The next token").locator("output").first).to_contain_text("likeliest")


def test_a_long_text_is_shown_through_a_window(page: "Page", served: Any) -> None:
    typed(page, LONG)
    known = ids(served, LONG)
    expect(ids_of(page)).to_have_text(as_texts(known[-24:]))
    window = page.locator(".window")
    expect(window).to_contain_text(f"Tokens {len(known) - 24} to {len(known) - 1} are shown")
    slider = window.locator("input")
    slider.fill("2")
    expect(ids_of(page)).to_have_text(as_texts(known[2:26]))
    expect(slider).to_have_attribute("aria-valuetext", "2 to 25")


def test_an_error_is_said_in_place_and_goes(served: Any, served_page: Opened) -> None:
    page = served_page(served.url, expected=[400])
    typed(page, "")
    expect(page.locator("#inside .wrong")).to_contain_text("Type a text")
    expect(page.locator("#live-count")).to_have_text("")
    typed(page, "a")
    expect(page.locator("#inside .wrong")).to_be_hidden()
    expect(ids_of(page)).to_have_text(as_texts(ids(served, "a")))


def test_an_example_is_taken(page: "Page", served: Any) -> None:
    example = page.get_by_role("group", name="Examples").locator("button").last
    example.click()
    known = ids(served, "def add(a, b):\n    return a +")
    expect(ids_of(page)).to_have_text(as_texts(known[-24:]))


def test_an_example_begins_a_text_of_the_playground(page: "Page") -> None:
    page.get_by_role("group", name="Beginnings").locator("button").first.click()
    field = page.get_by_label("Your text")
    expect(field).to_have_value("When Mary and John went to the store, John gave a drink to")
    expect(field).to_be_focused()


def test_pictures_are_drawn_when_they_come_near(page: "Page") -> None:
    page.locator("#pictures").evaluate("e => e.scrollIntoView({ behavior: 'instant' })")
    expect(page.locator("#pictures .card")).to_have_count(10)
    page.locator(".card[href='#weights']").click()
    expect(page.locator("dialog[open] h2")).to_have_text("Weights")
    page.keyboard.press("Escape")
    expect(page.locator(".card[href='#weights']")).to_be_focused()


def test_another_model_is_chosen(
    serve_with: Any, served_page: Opened, model: GPT2, gapped_model: GPT2
) -> None:
    served = serve_with(models={"one": model, "two": gapped_model})
    page = served_page(served.url)
    typed(page, TEXT)
    expect(ids_of(page)).to_have_text(as_texts(ids(served, TEXT)))
    page.get_by_label("Model", exact=True).first.select_option("two")
    theirs = gapped_model.require_tokenizer().encode(TEXT)
    expect(ids_of(page)).to_have_text(as_texts(theirs))
    expect(page.locator("h1")).to_have_text("two")


def test_the_key_is_asked_for_and_kept_by_the_tab_alone(
    serve_with: Any, served_page: Opened
) -> None:
    served = serve_with(api_key="open-sesame")
    page = served_page(served.url, expected=[401])
    dialog = page.locator("dialog.key")
    dialog.locator("input").fill("wrong")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("refused")
    dialog.locator("input").fill("open-sesame")
    page.keyboard.press("Enter")
    expect(dialog).to_have_count(0)
    typed(page, TEXT)
    expect(ids_of(page)).to_have_text(as_texts(ids(served, TEXT)))
    assert page.evaluate("Object.values(localStorage).join()").count("sesame") == 0
    page.reload()
    expect(ids_of(page).first).to_be_attached()


def test_what_was_refused_comes_once_the_key_is_given(serve_with: Any, served_page: Opened) -> None:
    served = serve_with(api_key="open-sesame")
    page = served_page(served.url, expected=[401])
    dialog = page.locator("dialog.key")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#inside .wrong")).to_contain_text("key")
    page.get_by_label("Your text").fill("a")
    dialog.locator("input").fill("open-sesame")
    page.keyboard.press("Enter")
    expect(page.locator("#inside .wrong")).to_be_hidden()
    expect(ids_of(page).first).to_be_attached()


@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_is_wider_than_the_window(page: "Page", width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    for title in PARTS:
        part(page, title)
        assert page.evaluate(WIDER) == 0


def test_what_has_the_focus_is_not_behind_the_field(page: "Page") -> None:
    part(page, "The next token").locator("input").first.focus()
    for _ in range(30):
        page.keyboard.press("Shift+Tab")
        hidden = page.evaluate("""() => {
            const box = document.querySelector(".live-text").getBoundingClientRect();
            const focused = document.activeElement;
            if (focused.closest(".live-text") || !focused.closest("#inside")) return false;
            return focused.getBoundingClientRect().bottom < box.bottom;
        }""")
        assert not hidden


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(page: "Page", scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    for title in PARTS:
        part(page, title)
    found = axe.run(page).response["violations"]
    typed(page, LONG)
    expect(page.locator(".window")).to_be_visible()
    found += axe.run(page).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []


def test_links_are_large_enough_for_a_finger(served: Any, browser: "Browser") -> None:
    context = browser.new_context(has_touch=True, is_mobile=True, viewport=PHONE)
    page = context.new_page()
    page.goto(served.url)
    page.locator("footer a").first.wait_for()
    heights = [box.bounding_box()["height"] for box in page.locator(".bar a, footer a").all()]  # type: ignore[index]
    context.close()
    assert len(heights) > 4
    assert min(heights) >= 24  # pixels, of WCAG 2.2, 2.5.8


def test_the_bar_wraps_where_the_text_has_twice_the_size(page: "Page") -> None:
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    page.set_viewport_size({"width": 860, "height": 800})
    assert page.locator(".bar").evaluate("bar => bar.scrollWidth - bar.clientWidth") == 0
    page.set_viewport_size({"width": 375, "height": 800})
    facts = page.locator(".introduction")
    assert facts.evaluate("facts => facts.scrollWidth - facts.clientWidth") == 0
