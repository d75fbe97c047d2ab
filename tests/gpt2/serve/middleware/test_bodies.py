"""Which bodies the server reads, tried by real connections."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from gpt2.serve.middleware.bodies import Bodies

Served = ServeWith = Any  # of conftest.py

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def small_bodies(serve_with: ServeWith) -> Served:
    return serve_with(body_mb=0.001)


def body_of(size: int) -> bytes:
    start = b'{"prompt": "a", "max_tokens": 1}'
    return start + b" " * (size - len(start))


def pieces(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 100):
        yield body[start : start + 100]


def post(served: Served, content: Any, headers: dict[str, str] = JSON) -> httpx.Response:
    url = f"{served.url}/v1/completions"
    return httpx.post(url, content=content, headers=headers)


def test_a_body_of_the_limit_is_read_and_a_byte_more_is_not(small_bodies: Served) -> None:
    assert post(small_bodies, body_of(1000)).status_code == 200

    answer = post(small_bodies, body_of(1001))

    assert answer.status_code == 413
    assert "at most 1,000 bytes" in answer.json()["error"]["message"]


def test_a_body_without_a_length_is_limited_too(small_bodies: Served) -> None:
    assert post(small_bodies, pieces(body_of(1000))).status_code == 200
    assert post(small_bodies, pieces(body_of(1001))).status_code == 413


def test_a_client_that_sends_far_too_much_gets_its_answer(served: Served) -> None:
    assert post(served, b" " * 20_000_000).status_code == 413


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON"])
def test_json_is_read(served: Served, kind: str) -> None:
    assert post(served, body_of(100), {"Content-Type": kind}).status_code == 200


@pytest.mark.parametrize(
    "kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonp"]
)
def test_what_a_form_of_another_site_can_send_is_refused(served: Served, kind: str) -> None:
    answer = post(served, body_of(100), {"Content-Type": kind})

    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_media_type"


def test_a_body_that_does_not_come_is_not_waited_for_without_end() -> None:
    async def silence() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    [start, body] = asyncio.run(sent(Bodies(unreached, 1000, most_seconds=0.001), silence))

    assert start["status"] == 408
    assert "within 0.001 s" in json.loads(body["body"])["error"]["message"]
    assert (b"connection", b"close") in start["headers"]


async def unreached(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError


async def sent(app: Bodies, receive: Receive) -> list[Message]:
    messages: list[Message] = []

    async def send(message: Message) -> None:
        messages.append(message)

    headers = [(b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")]
    await app({"type": "http", "method": "POST", "headers": headers}, receive, send)
    return messages
