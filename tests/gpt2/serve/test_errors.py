"""Errors in OpenAI's form: from bodies that are none, paths that are not there, and exceptions."""

from typing import Any

import httpx
import pytest

from gpt2.errors import CheckpointError, InputError, NotFiniteError
from gpt2.serve.errors import ApiError, as_failure, shown
from llm_tokenizer.errors import UnknownTokenError


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "the body must be JSON: Expecting property name"),
        (b'{"prompt": "a', "the body must be JSON: Unterminated string starting at 11"),
        (b"{}", "prompt is missing"),
        (b"null", "the body must be a JSON object"),
        (b"[]", "the body must be a JSON object"),
        (b'"prompt"', "the body must be a JSON object"),
        (b"[" * 100_000, "the body must be JSON in UTF-8, nested"),
        (b'{"prompt": ' + b"1" * 5000 + b"}", "with numbers of some thousand digits"),
        (b'{"prompt": "\xff"}', "the body must be JSON in UTF-8"),
        (b'{"prompt": "\\ud800"}', "half of a surrogate pair"),
        (b'{"\\ud800": 1, "prompt": "a"}', "there is no field "),
        (b'{"prompt": "a", "stop": ["\\udc00"]}', "stop[0]: "),
        (b'{"prompt": "a", "logit_bias": {"\\udc00": 1}}', "logit_bias"),
        (b'{"prompt": "a", "logit_bias": {"1\\n": 1}}', "logit_bias.1\\n"),
        (b'{"prompt": NaN}', "prompt: "),
        (b'{"prompt": "a", "temperature": NaN}', "temperature: it should be a finite number"),
        (b'{"prompt": "a", "temperature": -Infinity}', "temperature: "),
        (b'{"prompt": "a", "temperature": 1e999}', "temperature: it should be a finite number"),
        (b'{"prompt": "a", "max_tokens": 1e999}', "max_tokens: "),
        (b'{"prompt": "a", "max_tokens": 1' + b"0" * 4000 + b"}", "max_tokens: it should be"),
        (b'{"prompt": [1' + b"0" * 4000 + b"]}", "token ids must be"),
        (b'{"prompt": "a", "stop": ' + b"[" * 900 + b"]" * 900 + b"}", "stop[0]: "),
    ],
    ids=lambda each: each[:40] if isinstance(each, bytes) else None,
)
def test_a_body_that_is_no_request_is_a_bad_request(served: Any, body: bytes, words: str) -> None:
    headers = {"Content-Type": "application/json"}

    answer = httpx.post(f"{served.url}/v1/completions", content=body, headers=headers)

    error = answer.json()["error"]
    assert answer.status_code == 400
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert words in error["message"]
    assert len(error["message"]) < 250
    assert "\n" not in error["message"]


def test_an_unknown_path_is_not_found(served: Any) -> None:
    answer = httpx.get(f"{served.url}/nowhere/é")

    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "there is nothing at '/nowhere/é'"


def test_a_path_with_a_slash_more_is_not_found(served: Any) -> None:
    # Not sent elsewhere: behind a proxy with TLS that would be http, with the prompt and the key.
    answer = httpx.post(f"{served.url}/v1/completions/", json={"prompt": "a"})

    assert (answer.status_code, answer.headers.get("location")) == (404, None)


def test_health_takes_no_other_method(served: Any) -> None:
    answer = httpx.post(f"{served.url}/health")

    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert answer.json()["error"]["message"] == "/health takes GET, HEAD, got POST"


def test_a_wrong_method_is_not_allowed(served: Any) -> None:
    answer = httpx.get(f"{served.url}/v1/completions")

    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert answer.json()["error"]["message"] == "'/v1/completions' takes POST, got GET"


def test_a_long_method_is_cut(served: Any) -> None:
    message = httpx.request("X" * 3000, f"{served.url}/v1/models").json()["error"]["message"]

    assert message.endswith(" takes GET, got " + "X" * 60)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("ids"), 400),
        (UnknownTokenError("ids"), 400),
        (ApiError(418, "ids"), 418),
        (NotFiniteError("ids"), 500),
        (CheckpointError("ids"), 500),
    ],
)
def test_an_error_that_is_meant_to_be_read_keeps_its_words(error: Exception, status: int) -> None:
    answer = as_failure(error)

    assert (answer.status, answer.message) == (status, "ids")


def test_any_other_exception_is_not_described() -> None:
    answer = as_failure(RuntimeError("a prompt"))

    assert answer.status == 500
    assert "a prompt" not in answer.message


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (404, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "server_error"),
        (503, "server_error"),
    ],
)
def test_the_type_of_an_error_follows_from_its_status(status: int, kind: str) -> None:
    assert ApiError(status, "", code="c", param="p").body()["error"] == {
        "message": "",
        "type": kind,
        "param": "p",
        "code": "c",
    }


def test_an_answer_says_when_to_try_again() -> None:
    headers = ApiError(429, "", retry_after=3).response({"Connection": "close"}).headers

    assert (headers["Retry-After"], headers["Connection"]) == ("3", "close")


def test_a_long_number_is_not_written_out() -> None:
    assert shown(-(10**5000)) == "a number of more than 30 digits"
    assert shown(12) == "12"
