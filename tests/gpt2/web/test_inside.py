"""Inside a text, on the page: what is shown is what the model computes."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
import pytest
import torch

from gpt2.files.pretrained import GPT2
from gpt2.generation.sampling import divide_by_temperature, keep_top_k
from gpt2.visual import style
from gpt2.visual.capture import Recording, record
from gpt2.visual.gallery.inside import inside
from gpt2.visual.gallery.one_file import one_file
from gpt2.visual.pictures.attention import scale
from gpt2.visual.token_texts import token_texts

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

TEXT = "Permission is <b>\n granted"
SHOW = """async ([page, texts]) => {
    const { showTexts } = await import("gpt2/inside.js");
    const section = document.createElement("section");
    section.append(document.createElement("h2"));
    section.firstChild.textContent = "Texts";
    document.getElementById("main").append(section);
    showTexts(section, page, (index) => texts[index]);
}"""
COLORS = {
    "attention": style.colors_of(style.ATTENTION),
    "surprisal": style.colors_of(style.SURPRISAL),
    "probability": style.colors_of(style.PROBABILITY),
    "signed": style.colors_of(style.SIGNED),
    "series": list(style.SERIES),
}
PARTS = ["Tokens", "Attention", "One head, step by step", "Attention as matrix multiplication"]
PARTS += ["Residual stream", "Logit lens", "The next token"]

Shown = Callable[..., "Page"]


@pytest.fixture
def shown(browser_page: "Page", tmp_path: Path) -> Shown:
    """Show texts of a model on an empty page."""
    (tmp_path / "page.html").write_text(one_file("gallery.js", "a", {}))

    def show(model: GPT2, *texts: str) -> "Page":
        known = set(model.unused_ids)
        listed = token_texts(model.require_tokenizer(), range(model.config.vocab_size))
        vocabulary = [None if i in known else text for i, text in enumerate(listed)]
        page = {"texts": texts, "vocabulary": vocabulary, "colors": COLORS}
        browser_page.goto((tmp_path / "page.html").as_uri())
        browser_page.evaluate(SHOW, [page, [inside(model, text) for text in texts]])
        return browser_page

    return show


def part(page: "Page", title: str) -> "Locator":
    return page.locator(".inside-part").nth(PARTS.index(title))


def recorded(model: GPT2, text: str = TEXT) -> Recording:
    return record(model, model.require_tokenizer().encode(text))


def point(matrix: "Locator", row: int, column: int, rows: int, columns: int) -> None:
    """Have the pointer move over a cell; test_matrix.py moves a real one."""
    move = """(plane, [x, y]) => {
        const { left, top, width, height } = plane.getBoundingClientRect();
        const place = { clientX: left + x * width, clientY: top + y * height };
        plane.dispatchEvent(new PointerEvent("pointermove", place));
    }"""
    matrix.evaluate(move, [(column + 0.5) / columns, (row + 0.5) / rows])


def last_number(text: str) -> float:
    return float(re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text)[-1])


def pixels(canvas: "Locator") -> np.ndarray:
    """Return the pixels of a canvas, (rows, columns, red green blue alpha)."""
    read = """(canvas) => [canvas.height, canvas.width, Array.from(
        canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data)]"""
    rows, columns, values = canvas.evaluate(read)
    return np.reshape(values, (rows, columns, 4))


def test_tokens_have_their_ids_and_surprisal(shown: Shown, model: GPT2) -> None:
    page = shown(model, TEXT)
    recording = recorded(model)
    tokens = part(page, "Tokens").locator(".token").all()
    assert [int(token.locator("small").inner_text()) for token in tokens] == recording.ids
    assert "\\n" in [token.locator("bdi").inner_text().strip() for token in tokens]
    nats = -recording.logits.log_softmax(dim=-1)[0, recording.ids[1]]
    said = tokens[1].get_attribute("aria-label") or ""
    assert float(said.split()[-2]) == pytest.approx(float(nats) / math.log(2), rel=1e-3)


def test_the_weights_of_each_head_are_those_of_transformers(
    shown: Shown, model: GPT2, tmp_path: Path
) -> None:
    import transformers

    model.save_pretrained(tmp_path / "model")
    theirs = transformers.GPT2LMHeadModel.from_pretrained(
        tmp_path / "model", attn_implementation="eager"
    )
    ids = recorded(model).ids
    with torch.no_grad():
        attentions = theirs(torch.tensor([ids]), output_attentions=True).attentions
    page = shown(model, TEXT)
    attention = part(page, "Attention")
    maps, large = attention.locator(".plane").all()
    maps.focus()
    count = len(ids)
    for keys, block, head in (("Home ArrowUp ArrowUp", 0, 0), ("End ArrowDown ArrowDown", 2, 3)):
        for key in [*keys.split(), "Enter"]:
            page.keyboard.press(key)
        assert attention.locator("figcaption").nth(1).inner_text() == f"Block {block}, head {head}"
        for row, column in ((0, 0), (count - 1, 0), (count - 1, count - 1), (4, 2)):
            point(large, row, column, count, count)
            read = last_number(attention.locator(".one-head .readout").inner_text())
            assert read == pytest.approx(float(attentions[block][0, head, row, column]), abs=1e-3)
        maps.focus()


def test_the_future_is_blank_in_every_head(shown: Shown, model: GPT2) -> None:
    page = shown(model, TEXT)
    maps, large = part(page, "Attention").locator(".plane canvas").all()
    count = len(recorded(model).ids)
    visible = np.tri(count, dtype=bool)
    assert ((pixels(large)[..., 3] == 255) == visible).all()
    small = pixels(maps)[..., 3] == 255
    step = small.shape[0] // model.config.n_layer
    assert small.shape[1] == step * model.config.n_head
    margin = (step - count) // 2
    small = small[step + margin :, 3 * step + margin :]  # the fourth head of the second block
    assert (small[:count, :count] == visible).all()
    large_plane = part(page, "Attention").locator(".plane").nth(1)
    point(large_plane, 1, 3, count, count)
    assert "hidden by the causal mask" in part(page, "Attention").inner_text()


def test_a_token_under_the_pointer_shows_where_it_looks_and_who_looks_at_it(
    shown: Shown, model: GPT2
) -> None:
    page = shown(model, TEXT)
    attention = part(page, "Attention")
    block, head = map(int, re.findall(r"\d+", attention.locator("figcaption").nth(1).inner_text()))
    weights = recorded(model).weights(block)[head].numpy()
    tokens = attention.locator(".token")
    read = """(tokens) => ["--looks", "--seen"].map((name) =>
        tokens.map((token) => Number(token.style.getPropertyValue(name))))"""
    looks, seen = tokens.evaluate_all(read)
    np.testing.assert_allclose(looks, weights[-1], atol=1e-3)  # of the last token, the chosen one
    tokens.nth(3).hover()
    looks, seen = tokens.evaluate_all(read)
    np.testing.assert_allclose(looks, weights[3], atol=1e-3)
    np.testing.assert_allclose(seen, weights[:, 3], atol=1e-3)
    tokens.nth(0).focus()
    page.keyboard.press("ArrowRight")
    assert tokens.evaluate_all("all => all.findIndex((t) => t.ariaChecked === 'true')") == 1
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith("1: ")


def step(page: "Page", title: str, number: int) -> "Locator":
    """Go to a step of a part, and return what it shows."""
    steps = part(page, title)
    steps.locator(".step-bar button").nth(number).click()
    page.mouse.move(0, 0)  # else the mouse may lie over a matrix that the step brings
    return steps.locator(".step")


def chosen_head(page: "Page") -> list[int]:
    selects = part(page, "One head, step by step").locator("select").all()
    return [int(select.input_value()) for select in selects]


def test_the_steps_of_a_head_are_its_matrix_products(shown: Shown, model: GPT2) -> None:
    page = shown(model, TEXT)
    title = "One head, step by step"
    for select, value in zip(part(page, title).locator("select").all(), ("1", "2"), strict=True):
        select.select_option(value)
    recording = recorded(model)
    q, k, v = (each[1, 2] for each in (recording.queries, recording.keys, recording.values))
    count, width = q.shape
    scores = q @ k.T
    scaled = scores * recording.scales[1]
    weights = recording.weights(1)[2]
    expected = [scores, scaled, scaled, weights, weights @ v]
    for number, matrix in enumerate(expected):
        view = step(page, title, number)
        rows, columns = matrix.shape
        for row, column in ((5, 2), (count - 1, 0)):
            point(view.locator(".plane").last, row, column, rows, columns)
            read = view.locator(".place").inner_text()
            assert last_number(read) == pytest.approx(float(matrix[row, column]), rel=2e-3)
            arithmetic = view.locator(".arithmetic").inner_text()
            assert last_number(arithmetic) == pytest.approx(last_number(read), rel=1e-3)
    assert view.locator(".shapes").inner_text() == (
        f"({count} × {count}) times ({count} × {width}) = ({count} × {width})"
    )


def test_a_channel_of_a_query_shows_what_it_adds_to_the_score(shown: Shown, model: GPT2) -> None:
    page = shown(model, TEXT)
    view = step(page, "One head, step by step", 0)
    recording = recorded(model)
    block, head = chosen_head(page)
    q, k = recording.queries[block, head], recording.keys[block, head]
    last = len(q) - 1
    point(view.locator(".left-factor .plane"), 2, 3, *q.shape)
    read = view.locator(".arithmetic").inner_text()
    assert read.startswith("channel 3 adds ")
    assert last_number(read) == pytest.approx(float(q[2, 3] * k[last, 3]), rel=1e-3)


def test_keys_go_from_step_to_step(shown: Shown, model: GPT2) -> None:
    page = shown(model, TEXT)
    steps = part(page, "One head, step by step")
    steps.locator(".step-bar button").first.focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    assert steps.locator("[aria-current=true]").inner_text() == "3. Mask"
    assert page.evaluate("document.activeElement.textContent") == "3. Mask"
    page.keyboard.press("ArrowLeft")
    assert steps.locator("[aria-current=true]").inner_text() == "2. Scale"
    steps.get_by_role("button", name="Next step").focus()
    for _ in range(3):
        page.keyboard.press("Enter")
    # The button has no further step, and hands the focus on.
    assert page.evaluate("document.activeElement.textContent") == "5. Weights times V"


def test_future_scores_are_masked_and_shown_blank(shown: Shown, model: GPT2) -> None:
    page = shown(model, TEXT)
    view = step(page, "One head, step by step", 2)
    count = len(recorded(model).ids)
    canvas = view.locator(".plane canvas").last
    assert ((pixels(canvas)[..., 3] == 255) == np.tri(count, dtype=bool)).all()
    point(view.locator(".plane").last, 1, 4, count, count)
    assert view.locator(".arithmetic").inner_text() == "Token 4 comes after token 1: -∞"


def test_the_lesson_leads_from_an_average_to_many_heads(shown: Shown, model: GPT2) -> None:
    page = shown(model, TEXT)
    title = "Attention as matrix multiplication"
    recording = recorded(model)
    block, head = chosen_head(page)
    v = recording.values[block, head]
    count, width = v.shape
    averages = v.cumsum(dim=0) / torch.arange(1, count + 1)[:, None]
    for number in (0, 1):  # by a loop, and by a triangular matrix
        view = step(page, title, number)
        point(view.locator(".plane").last, 4, 1, count, width)
        read = last_number(view.locator(".place").inner_text())
        assert read == pytest.approx(float(averages[4, 1]), rel=2e-3)
    assert "The numbers are equal" in view.inner_text()
    view = step(page, title, 2)
    point(view.locator(".plane").last, 4, 1, count, count)
    assert last_number(view.locator(".place").inner_text()) == pytest.approx(1 / 5, rel=1e-3)
    view = step(page, title, 3)
    output = recording.weights(block)[head] @ v
    point(view.locator(".plane").last, 4, 1, count, width)
    read = last_number(view.locator(".place").inner_text())
    assert read == pytest.approx(float(output[4, 1]), rel=2e-3)
    view = step(page, title, 4)
    together = (recording.weights(block) @ recording.values[block]).transpose(0, 1).flatten(1)
    point(view.locator(".plane").last, 4, 7, *together.shape)
    read = last_number(view.locator(".readout").inner_text())
    assert read == pytest.approx(float(together[4, 7]), rel=2e-3)


def test_hidden_states_are_those_of_transformers(shown: Shown, model: GPT2, tmp_path: Path) -> None:
    import transformers

    model.save_pretrained(tmp_path / "model")
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "model")
    ids = recorded(model).ids
    with torch.no_grad():
        states = theirs(torch.tensor([ids]), output_hidden_states=True).hidden_states
    stream = part(shown(model, TEXT), "Residual stream")
    rows, columns = states[0][0].shape
    for place, expected in ((0, states[0]), (2, states[2]), (4, states[3])):  # 4: after ln_f
        stream.locator("select").select_option(index=place)
        for row, column in ((0, 0), (rows - 1, 7), (2, columns - 1)):
            point(stream.locator(".plane"), row, column, rows, columns)
            read = last_number(stream.locator(".readout").inner_text())
            assert read == pytest.approx(float(expected[0, row, column]), rel=2e-3, abs=1e-3)


def test_the_lens_shows_the_likeliest_tokens_after_each_block(shown: Shown, model: GPT2) -> None:
    page = shown(model, TEXT)
    recording = recorded(model)
    with torch.no_grad():
        logits = model.logits(model.ln_f(recording.stream()[::2]))
    listed = token_texts(model.require_tokenizer(), range(300))
    texts = [text.replace(" ", "␣") for text in listed]  # " If" and "If" differ in a list
    lens = part(page, "Logit lens")
    cells = [row.locator("td").all_inner_texts() for row in lens.locator("tbody tr").all()]
    expected = [[texts[i] for i in row] for row in logits.argmax(dim=-1).tolist()]
    assert [[cell.strip() for cell in row] for row in cells] == expected
    lens.locator("tbody tr").nth(1).locator("td").nth(2).focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    top = logits[2, 3].softmax(dim=-1).topk(5)
    items = lens.locator("li").all_inner_texts()
    assert [item.rsplit(" ", 2)[0].strip() for item in items] == [
        texts[i] for i in top.indices.tolist()
    ]
    assert float(items[0].split()[-2]) == pytest.approx(100 * float(top.values[0]), abs=0.06)


@pytest.mark.parametrize(("temperature", "step_of_k"), [(0.7, 282), (1.6, 1000), (0.05, 500)])
def test_next_tokens_follow_the_rule_of_generation(
    shown: Shown, model: GPT2, temperature: float, step_of_k: int
) -> None:
    page = shown(model, TEXT)
    k = round(300 ** (step_of_k / 1000))
    after = part(page, "The next token")
    for slider, value in zip(after.locator("input").all(), (temperature, step_of_k), strict=True):
        slider.fill(str(value))
    logits = recorded(model).logits[-1:]
    kept = divide_by_temperature(keep_top_k(logits, k), temperature).softmax(dim=-1)[0]
    whole = divide_by_temperature(logits, temperature).softmax(dim=-1)[0]
    likeliest = logits[0].sort(descending=True, stable=True).indices[:15].tolist()
    read = """(bars) => bars.map((bar) => [Number(bar.dataset.id),
        Number(bar.querySelector(".bar-fill").style.getPropertyValue("--share"))])"""
    ids, shares = zip(*after.locator("li").evaluate_all(read), strict=True)
    assert list(ids) == likeliest
    np.testing.assert_allclose(shares, kept[likeliest].numpy(), rtol=1e-5, atol=1e-12)
    facts = after.locator(".next-facts").inner_text()
    assert int(facts.split()[0]) == int((kept > 0).sum())
    mass = float(whole[kept > 0].sum())
    said = "all that there are" if k == 300 else f"{100 * mass:.1f} % of all"
    assert said in facts
    bits = float(-(kept[kept > 0] * kept[kept > 0].log2()).sum())
    assert float(re.findall(r"Entropy: ([\d.]+) bits", facts)[0]) == pytest.approx(bits, abs=6e-4)


def test_temperature_0_takes_the_likeliest_and_a_button_goes_back(
    shown: Shown, model: GPT2
) -> None:
    page = shown(model, TEXT)
    after = part(page, "The next token")
    after.locator("input").first.focus()
    page.keyboard.press("Home")
    assert after.locator("li .bar-share").first.inner_text() == "100.0 %"
    assert after.locator("li .bar-share").nth(1).inner_text() == "left out"
    assert "1 token can come next." in after.inner_text()
    after.get_by_role("button", name="Temperature 1").click()
    probability = float(recorded(model).logits[-1].softmax(dim=-1).max())
    assert after.locator("li .bar-share").first.inner_text() == f"{100 * probability:.1f} %"


def test_another_text_is_shown_when_it_is_chosen(shown: Shown, model: GPT2) -> None:
    page = shown(model, TEXT, "the software")
    chooser = page.get_by_role("group", name="Text", exact=True)
    chooser.get_by_role("button", name="the software").click()
    ids = [int(small) for small in page.locator(".token small").all_inner_texts()]
    assert ids == recorded(model, "the software").ids
    pressed = chooser.locator("button").evaluate_all("all => all.map((b) => b.ariaPressed)")
    assert pressed == ["false", "true"]


def test_a_choice_of_token_is_followed_everywhere(shown: Shown, model: GPT2) -> None:
    page = shown(model, TEXT)
    part(page, "Tokens").locator(".token").nth(2).click()
    assert part(page, "Attention").locator("[aria-checked=true]").count() == 1
    assert part(page, "The next token").inner_text().count("After token 2") == 1
    part(page, "One head, step by step").scroll_into_view_if_needed()
    part(page, "One head, step by step").get_by_text("query of token 2 ").wait_for()
    part(page, "Logit lens").scroll_into_view_if_needed()
    part(page, "Logit lens").get_by_text("At token 2 ").wait_for()


STRANGE = "🙂 שלום <script>\n\n  $x$&amp;"


@pytest.mark.parametrize("text", ["a", STRANGE])
def test_any_text_fits_on_a_phone(shown: Shown, model: GPT2, text: str) -> None:
    page = shown(model, text)
    page.set_viewport_size({"width": 360, "height": 800})
    for each in page.locator(".inside-part").all():
        each.scroll_into_view_if_needed()
    assert page.evaluate("document.documentElement.scrollWidth") == 360


def test_axe_finds_no_violation(shown: Shown, model: GPT2) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = shown(model, STRANGE)
    for each in page.locator(".inside-part").all():
        each.scroll_into_view_if_needed()
    found = axe.run(page, options={"rules": {"page-has-heading-one": {"enabled": False}}})
    violations = [(v["id"], v["nodes"][0]["html"]) for v in found.response["violations"]]
    assert violations == []


def test_ids_without_a_token_are_never_next(shown: Shown, gapped_model: GPT2) -> None:
    page = shown(gapped_model, "the")
    facts = part(page, "The next token").locator(".next-facts").inner_text()
    assert int(facts.split()[0]) == 420 - len(gapped_model.unused_ids)


def test_ids_without_a_token_are_in_no_lens(shown: Shown, gapped_model: GPT2) -> None:
    page = shown(gapped_model, TEXT)
    texts = part(page, "Logit lens").locator("tbody td").all_inner_texts()
    assert texts
    assert not [text for text in texts if re.fullmatch(r"\[\d+\]", text.strip())]


def test_colors_of_attention_are_those_of_the_pictures(shown: Shown, model: GPT2) -> None:
    page = shown(model, TEXT)
    caption = part(page, "Attention").locator("figcaption").nth(1).inner_text()
    block, head = map(int, re.findall(r"\d+", caption))
    weights = recorded(model).weights(block)[head].numpy()
    colors = mpl.colormaps[style.ATTENTION](scale()(weights), bytes=True)[..., :3].astype(int)
    drawn = pixels(part(page, "Attention").locator(".one-head canvas").first)[..., :3].astype(int)
    past = np.tri(len(weights), dtype=bool)
    assert np.abs(drawn - colors)[past].max() <= 4  # the page has fewer steps of color


def test_the_name_of_a_matrix_follows_what_it_shows(shown: Shown, model: GPT2) -> None:
    stream = part(shown(model, TEXT), "Residual stream")
    stream.scroll_into_view_if_needed()
    stream.locator("select").select_option(label="block 1")
    label = stream.locator(".plane").get_attribute("aria-label") or ""
    assert label.startswith("Hidden states, block 1:")
    stream.locator("summary").click()
    stream.locator("caption").wait_for(state="attached")
    assert "block 1" in (stream.locator("caption").text_content() or "")


def test_a_text_of_spaces_alone_can_be_chosen_by_its_name(shown: Shown, model: GPT2) -> None:
    page = shown(model, TEXT, " \n")
    chooser = page.get_by_role("group", name="Text", exact=True)
    assert chooser.locator("button").nth(1).inner_text() == '" \\n"'


def test_bars_keep_their_colors_where_the_system_forces_its_own(shown: Shown, model: GPT2) -> None:
    page = shown(model, TEXT)
    read = "element => getComputedStyle(element).backgroundColor"
    seen = [page.locator(".bar-fill").first, page.locator("[aria-label='Token'] .token").nth(1)]
    before = [each.evaluate(read) for each in seen]
    page.emulate_media(forced_colors="active")
    assert [each.evaluate(read) for each in seen] == before


def test_the_focused_cell_of_the_lens_is_outlined_as_what_is_focused(
    shown: Shown, model: GPT2
) -> None:
    page = shown(model, TEXT)
    part(page, "Logit lens").scroll_into_view_if_needed()
    cell = part(page, "Logit lens").locator("td[tabindex='0']")
    read = "element => getComputedStyle(element).outlineColor"
    unfocused = cell.evaluate(read)
    cell.focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(f"({read})(document.activeElement)") != unfocused
