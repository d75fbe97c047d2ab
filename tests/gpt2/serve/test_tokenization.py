"""Texts to tokens and back over HTTP."""

from typing import Any

import httpx
import pytest


def post(served: Any, path: str, **fields: Any) -> httpx.Response:
    return httpx.post(f"{served.url}/{path}", json=fields)


def test_a_text_becomes_its_tokens(served: Any) -> None:
    answer = post(served, "tokenize", prompt="he né<|endoftext|>", return_token_strs=True)

    tokens = answer.json()["tokens"]
    assert answer.json() == {
        "count": len(tokens),
        "max_model_len": 24,
        "tokens": tokens,
        "token_strs": ["he", " ", "n", "bytes:\\xc3", "bytes:\\xa9", "<|endoftext|>"],
    }
    assert tokens[-1] == 299


@pytest.mark.parametrize("text", ["", "a", "né 日<|endoftext|>\n", "x" * 30_000])
def test_tokens_become_the_text_again(served: Any, text: str) -> None:
    tokens = post(served, "tokenize", prompt=text, model="tiny").json()

    assert tokens["token_strs"] is None
    assert tokens["count"] == len(tokens["tokens"])
    assert post(served, "detokenize", tokens=tokens["tokens"]).json() == {"prompt": text}


def test_bytes_that_are_no_characters_are_replaced(served: Any) -> None:
    assert post(served, "detokenize", tokens=[127]).json() == {"prompt": "\ufffd"}


@pytest.mark.parametrize(
    ("path", "fields", "status", "words"),
    [
        ("tokenize", {}, 400, "prompt is missing"),
        ("tokenize", {"prompt": 5}, 400, "prompt: it should be a valid string, got 5"),
        ("tokenize", {"prompt": "a", "model": "x"}, 404, "no model 'x'"),
        ("tokenize", {"prompt": "a", "chat": 1}, 400, "there is no field 'chat'"),
        ("detokenize", {"tokens": [300]}, 400, "300"),
        ("detokenize", {"tokens": [-1]}, 400, "tokens[0]: it should be greater"),
        ("detokenize", {"tokens": ["a"]}, 400, "tokens[0]: it should be a valid integer, got 'a'"),
        ("detokenize", {"tokens": [10**30]}, 400, "more than 30 digits"),
    ],
)
def test_what_is_no_text_and_no_token_is_refused(
    served: Any, path: str, fields: dict[str, Any], status: int, words: str
) -> None:
    answer = post(served, path, **fields)

    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]


def test_the_special_tokens_are_named(served: Any) -> None:
    answer = httpx.get(f"{served.url}/tokenizer_info").json()

    assert answer == {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"}
