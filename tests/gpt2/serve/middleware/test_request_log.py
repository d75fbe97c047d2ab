"""The log has a line for each request: counts alone, whatever happens."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

Served = Any  # of conftest.py
Lines = Callable[[], list[str]]

SECRET = "a secret"


def complete(served: Served, **fields: object) -> httpx.Response:
    return httpx.post(f"{served.url}/v1/completions", json={"max_tokens": 2, **fields})


@pytest.fixture
def lines(served: Served, request_lines: list[str]) -> Lines:
    """Return the lines of this test so far; each is written once the answer has been sent."""

    def written() -> list[str]:
        httpx.delete(f"{served.url}/v1/models")
        for _ in range(1000):  # the server's thread may still have to write the last line
            if request_lines and request_lines[-1].startswith("DELETE /v1/models 405"):
                break
            httpx.get(f"{served.url}/health")
        *before, last = request_lines
        assert last.startswith("DELETE /v1/models 405")
        request_lines.clear()
        return before

    written()  # those of other tests
    return written


def test_a_line_has_the_counts_and_nothing_of_the_request(served: Served, lines: Lines) -> None:
    answer = complete(served, prompt=[SECRET, "b"], n=2, user=SECRET, seed=1, logit_bias={"1": 0})

    used = answer.json()["usage"]
    [line] = lines()
    counts = f"tokens {used['prompt_tokens']} in, {used['completion_tokens']} out"
    assert line.startswith(f"POST /v1/completions 200  prompts 2, {counts}  ")
    assert SECRET not in line


def test_a_streamed_answer_has_its_counts_too(served: Served, lines: Lines) -> None:
    assert complete(served, prompt="b", stream=True, ignore_eos=True).text.endswith("[DONE]\n\n")

    [line] = lines()
    assert "200  prompts 1, tokens 1 in, 2 out  " in line


def test_a_client_that_leaves_is_noted(
    serve_with: Any, endless_model: Any, request_lines: list[str]
) -> None:
    served = serve_with(models={"tiny": endless_model})
    fields = {"prompt": [5], "max_tokens": 15_000, "stream": True}
    with httpx.stream("POST", f"{served.url}/v1/completions", json=fields) as answer:
        next(parts := answer.iter_text())
        del parts
    while not any(line.startswith("POST") for line in request_lines):
        httpx.get(f"{served.url}/health")

    [line] = [line for line in request_lines if line.startswith("POST")]
    assert line.startswith("POST /v1/completions 200  prompts 1, ")
    assert line.endswith("  the client left")


def test_nothing_of_a_wrong_request_is_logged(served: Served, lines: Lines) -> None:
    assert complete(served, prompt=SECRET, secret=SECRET).status_code == 400
    assert httpx.get(f"{served.url}/{SECRET}?{SECRET}").status_code == 404

    wrong, unknown = lines()
    assert wrong.startswith("POST /v1/completions 400  ")
    assert unknown.startswith("GET other 404  ")
    assert "secret" not in wrong + unknown


def test_a_method_that_http_does_not_have_is_not_logged(served: Served, lines: Lines) -> None:
    assert httpx.request("SECRET", f"{served.url}/").status_code == 405
    assert httpx.request("PUT", f"{served.url}/").status_code == 405

    made_up, known = lines()
    assert made_up.startswith("other / 405  ")
    assert known.startswith("PUT / 405  ")


def test_a_defect_is_logged_by_its_type_and_place_and_the_server_lives_on(
    served: Served, monkeypatch: Any, lines: Lines
) -> None:
    def fail(name: str | None) -> None:
        raise ValueError(SECRET)

    with monkeypatch.context() as patch:
        patch.setattr(served.models, "find", fail)
        answer = complete(served, prompt=SECRET)

    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "server_error"
    assert "secret" not in answer.text
    [line] = lines()
    assert line.startswith("POST /v1/completions 500  ")
    assert "  failed: ValueError at test_request_log.py:" in line
    assert "secret" not in line
    assert complete(served, prompt="a").status_code == 200


def test_what_asks_again_and_again_is_not_logged_when_all_is_well(
    served: Served, lines: Lines
) -> None:
    for path in ("/health", "/metrics", "/web/dom.js"):
        assert httpx.get(served.url + path).status_code == 200
    assert httpx.get(f"{served.url}/web/nothing.js").status_code == 404

    [line] = lines()
    assert line.startswith("GET /web 404  ")
