"""Ways to ask the shared server for completions, and a vocabulary made by hand."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from gpt2.files.pretrained import GPT2
from gpt2.serve.completions.token_strings import TokenStrings
from llm_tokenizer import Tokenizer
from llm_tokenizer.vocabulary import Vocabulary

Ask = Callable[..., Any]


@pytest.fixture(scope="session")
def client(served: Any) -> Iterator[httpx.Client]:
    """A client of the shared server."""
    with httpx.Client(base_url=served.url, timeout=60) as client:
        yield client


@pytest.fixture
def served_model(served: Any) -> GPT2:
    """The model of the shared server."""
    return next(iter(served.models)).model


@pytest.fixture
def ask(client: httpx.Client) -> Ask:
    """Return the answer to a request, by its fields."""

    def whole(**fields: Any) -> dict[str, Any]:
        answer = client.post("/v1/completions", json=fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    return whole


@pytest.fixture
def refusal(client: httpx.Client) -> Ask:
    """Return the status and the error of a request that is refused."""

    def refused(**fields: Any) -> tuple[int, dict[str, Any]]:
        answer = client.post("/v1/completions", json=fields)
        return answer.status_code, answer.json()["error"]

    return refused


@pytest.fixture
def chunks(client: httpx.Client) -> Ask:
    """Return the chunks of a streamed answer, which ends with [DONE]."""

    def streamed(**fields: Any) -> list[dict[str, Any]]:
        answer = client.post("/v1/completions", json=fields | {"stream": True})
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = answer.text.split("\n\n")
        assert events[-2:] == ["data: [DONE]", ""]
        return [json.loads(event.removeprefix("data: ")) for event in events[:-2]]

    return streamed


@pytest.fixture
def strings() -> TokenStrings:
    """The bytes 0 to 255, 256: " h", 257: " he", 258: the last two bytes of "日", 259: an end."""
    ids = {bytes([i]): i for i in range(256)}
    ids |= {b" h": 256, b" he": 257, b"\x97\xa5": 258}
    merges = [(b" ", b"h"), (b" h", b"e"), (b"\x97", b"\xa5")]
    return TokenStrings(Tokenizer(Vocabulary(ids, merges, {"<end>": 259})))
