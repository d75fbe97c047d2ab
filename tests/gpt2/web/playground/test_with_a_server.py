"""The playground of a real server: what it shows is what the model computes."""

import ast
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import torch

pytest.importorskip("playwright")
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

ENDED = ".sheet:not(.writing) .sheet-facts:has-text(';')"
ServedPage = Callable[..., "Page"]


def write(page: "Page", text: str, **settings: str) -> None:
    """Continue a text, and wait for its end."""
    page.fill("#playground-text", text)
    for name, value in settings.items():
        page.fill(f"#knob-{name}", value)
    page.click(".main-button")
    page.locator(ENDED).first.wait_for()


def tokens(page: "Page") -> "Locator":
    return page.locator(".token-text")


def hovered(page: "Page", number: int) -> tuple[int, float, list[float]]:
    """Return a token's id, its log-probability, and its alternatives' probabilities in percent."""
    page.focus(".flow")
    page.keyboard.press("Home")
    for _ in range(number):
        page.keyboard.press("ArrowRight")
    about = page.locator(".alternatives:not([hidden])")
    found = re.search(r"id (\d+), (\S+) nats", about.inner_text())
    assert found
    shares = about.locator(".bar-share").all_inner_texts()
    return int(found[1]), float(found[2]), [float(share.strip("< %")) for share in shares]


def test_probabilities_are_those_of_the_model(served: Any, served_page: ServedPage) -> None:
    page = served_page(served.url)
    write(page, "Permission", max_tokens="6", seed="5", temperature="0.7", top_k="50")
    model = served.models.find(None).whole()
    ids = model.require_tokenizer().encode("Permission")
    for number in range(tokens(page).count()):
        token, nats, shares = hovered(page, number)
        with torch.no_grad():
            expected = model(torch.tensor([ids]))[0, -1].log_softmax(dim=-1)
        assert nats == pytest.approx(float(expected[token]), rel=2e-3, abs=2e-3)
        largest = sorted((100 * math.exp(x) for x in expected.tolist()), reverse=True)[:5]
        assert shares[:5] == pytest.approx(largest, abs=0.1)
        ids.append(token)
    assert len(ids) > 6


@pytest.mark.parametrize("name", ["curl", "Python"])
def test_the_request_that_is_shown_writes_the_text_that_is_shown(
    served: Any, served_page: ServedPage, name: str
) -> None:
    page = served_page(served.url)
    page.select_option("label:has-text('Samples') select", "2")
    write(page, "it's", max_tokens="6", seed="5", top_k="50", presence_penalty="0.5")
    page.locator(ENDED).nth(1).wait_for()
    page.click("summary:has-text('The same as a request')")
    region = page.get_by_role("region", name=f"The request as {name}")
    expect(region).to_contain_text("completions")  # which is written once it has opened
    shown = region.text_content() or ""
    texts = [text.removeprefix("it's") for text in page.locator(".sheet-text").all_text_contents()]
    if name == "Python":
        pytest.importorskip("openai")
        command = [
            sys.executable,
            "-c",
            shown.replace("print(choice.text)", "print([choice.text])"),
        ]
        said = subprocess.run(command, capture_output=True, timeout=60, check=True, text=True)
        written = [ast.literal_eval(line)[0] for line in said.stdout.splitlines()]
    else:
        command = ["bash", "-c", shown]
        said = subprocess.run(command, capture_output=True, timeout=60, check=True, text=True)
        written = [choice["text"] for choice in json.loads(said.stdout)["choices"]]
    # A character at the end of which bytes are missing is not shown: it may yet come.
    assert texts == [text.rstrip("\ufffd") for text in written]


def complete(served: Any, **request: object) -> str:
    """Return the text that the API writes."""
    answer = httpx.post(f"{served.url}/v1/completions", json=request, timeout=60)
    return str(answer.raise_for_status().json()["choices"][0]["text"])


def test_a_branch_goes_on_from_the_exact_tokens(served: Any, served_page: ServedPage) -> None:
    page = served_page(served.url)
    write(page, "Permission", max_tokens="5", temperature="0")
    ids = served.models.find(None).model.require_tokenizer().encode("Permission")
    ids += [hovered(page, 0)[0]]
    page.focus(".flow")
    for key in ("Home", "ArrowRight", "Enter", "ArrowDown"):
        page.keyboard.press(key)
    page.locator(".alternatives button:focus").press("Enter")
    page.locator(".flow:focus").wait_for()
    tokens(page).nth(6).wait_for(state="attached")
    page.locator(ENDED).wait_for()
    branch = [hovered(page, number)[0] for number in range(1, 7)]
    expected = httpx.post(
        f"{served.url}/v1/completions",
        json={
            "prompt": ids + branch[:1],
            "max_tokens": 5,
            "temperature": 0,
            "logprobs": 0,
            "return_token_ids": True,
        },
        timeout=60,
    ).json()["choices"][0]["token_ids"]
    assert branch[1:] == expected


def test_a_text_from_nothing_begins_after_the_end_of_another(
    served: Any, served_page: ServedPage
) -> None:
    page = served_page(served.url)
    write(page, "", max_tokens="4", temperature="0")
    first = hovered(page, 0)
    model = served.models.find(None).whole()
    [end] = model.require_tokenizer().encode("<|endoftext|>", allowed_special="all")
    with torch.no_grad():
        logits = model(torch.tensor([[end]]))[0, -1]
    assert first[0] == int(logits.argmax())


def test_a_stop_string_is_no_part_of_the_text(served: Any, served_page: ServedPage) -> None:
    request = {"prompt": "Permission", "max_tokens": 8, "temperature": 0}
    stop = complete(served, **request)[3:5]
    expected = complete(served, **request, stop=[stop])
    page = served_page(served.url)
    write(page, "Permission", max_tokens="8", temperature="0", stop=stop)
    shown = page.locator(".sheet-text").text_content() or ""
    assert shown.rstrip("\ufffd") == f"Permission{expected}".rstrip("\ufffd")


def test_a_server_that_wants_a_key_is_given_it(serve_with: Any, served_page: ServedPage) -> None:
    page = served_page(serve_with(api_key="the-key").url, expected=[401])
    page.fill("dialog.key input", "the-key")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog.key", state="detached")
    write(page, "Permission", max_tokens="4")
    assert tokens(page).count() == 4
    page.click("summary:has-text('The same as a request')")
    shown = page.get_by_role("region", name="The request as curl")
    expect(shown).to_contain_text('-H "Authorization: Bearer $GPT2_API_KEY"')
