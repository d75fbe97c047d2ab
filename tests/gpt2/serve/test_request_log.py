"""What goes wrong is answered in OpenAI's form."""

from typing import Any

import httpx

from gpt2.serve.errors import ApiError

Served = Any  # of conftest.py


def test_an_unknown_path(served: Served) -> None:
    answer = httpx.get(f"{served.url}/v1/nothing")

    assert answer.status_code == 404
    assert answer.json() == {
        "error": {
            "message": "there is no GET /v1/nothing; see /openapi.json for what there is",
            "type": "invalid_request_error",
            "param": None,
            "code": "not_found",
        }
    }


def test_a_method_that_a_path_has_not(served: Served) -> None:
    answer = httpx.delete(f"{served.url}/v1/completions")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    assert answer.json()["error"]["code"] == "method_not_allowed"


def test_a_defect_says_nothing_of_the_request_and_the_server_lives_on(
    served: Served, monkeypatch: Any, capsys: Any
) -> None:
    def fail(name: str | None) -> None:
        raise ValueError("a secret prompt")

    with monkeypatch.context() as patch:
        patch.setattr(served.models, "find", fail)
        answer = httpx.post(f"{served.url}/v1/completions", json={"prompt": "a secret prompt"})

    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "server_error"
    assert "secret" not in answer.text
    good = httpx.post(f"{served.url}/v1/completions", json={"prompt": "a", "max_tokens": 1})
    assert good.status_code == 200
    logged = capsys.readouterr().err  # the line is written once the answer has been sent
    assert "secret" not in logged
    assert "POST /v1/completions 500" in logged
    assert "failed: ValueError at test_error_answers.py:" in logged


def test_an_error_that_may_pass_says_when_to_try_again(served: Served, monkeypatch: Any) -> None:
    def fail(name: str | None) -> None:
        raise ApiError(429, "too many texts wait", retry_after=7)

    monkeypatch.setattr(served.models, "find", fail)
    answer = httpx.post(f"{served.url}/v1/completions", json={"prompt": "a"})

    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "7"
