"""Requests that end early: clients that go, time that is up, an engine that fails, a full queue."""

import json
import socket
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import torch

from gpt2.files.pretrained import GPT2
from gpt2.generation.continuation import Continuation
from gpt2.generation.engine import Engine
from gpt2.serve.worker import Worker

MOST_SECONDS = 60
LONG = {"prompt": "The", "max_tokens": 20, "temperature": 0, "ignore_eos": True}


class Gate:
    """Holds up an engine after some steps, until texts are cancelled."""

    def __init__(self, worker: Worker, steps: int) -> None:
        self.texts: list[Continuation] = []
        self.is_reached = Event()
        self.is_open = Event()
        self._steps = steps
        self._step, self._cancel, self._submit = worker.engine.step, worker.cancel, worker.submit
        worker.engine.step = self.step  # type: ignore[method-assign]
        worker.cancel = self.cancel  # type: ignore[method-assign]
        worker.submit = self.submit  # type: ignore[method-assign]

    def step(self) -> list[Continuation]:
        self._steps -= 1
        if self._steps < 0:
            self.is_reached.set()
            assert self.is_open.wait(MOST_SECONDS)
        return self._step()

    def cancel(self, writings: Any) -> None:
        self._cancel(writings)
        self.is_open.set()

    def submit(self, orders: Any) -> Any:
        writings = self._submit(orders)
        self.texts += [writing.text for writing in writings]
        return writings


Gated = Callable[..., tuple[str, Gate]]


@pytest.fixture
def gated(serve_with: Any) -> Iterator[Gated]:
    """Start a server whose engine is held up after some steps; return its address, and the gate."""
    gates = []

    def start(steps: int, **settings: Any) -> tuple[str, Gate]:
        served = serve_with(**settings)
        gate = Gate(next(iter(served.models)).worker, steps)
        gates.append(gate)
        return served.url, gate

    yield start
    for gate in gates:
        gate.is_open.set()


def events(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in answer.iter_lines():
        if line and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))


def test_a_stream_whose_client_goes_is_ended(gated: Gated) -> None:
    url, gate = gated(steps=2)

    with httpx.stream("POST", f"{url}/v1/completions", json=LONG | {"stream": True}) as answer:
        first = next(events(answer))

    assert first["choices"][0]["text"]
    assert gate.is_open.wait(MOST_SECONDS)  # the text was cancelled
    assert [text.cancelled for text in gate.texts] == [True]


@pytest.mark.parametrize("steps", [0, 2])
def test_a_request_whose_client_goes_is_ended(gated: Gated, steps: int) -> None:
    url, gate = gated(steps=steps)
    body = json.dumps(LONG | {"n": 3}).encode()
    place = urlsplit(url)
    start = f"POST /v1/completions HTTP/1.1\r\nHost: {place.netloc}\r\n"
    head = f"{start}Content-Length: {len(body)}\r\nContent-Type: application/json\r\n\r\n"

    with socket.create_connection((place.hostname, place.port), MOST_SECONDS) as connection:
        connection.sendall(head.encode() + body)
        assert gate.is_reached.wait(MOST_SECONDS)

    assert gate.is_open.wait(MOST_SECONDS)
    assert [text.cancelled for text in gate.texts] == [True] * 3


def test_a_text_that_waits_ends_with_its_client_too(gated: Gated) -> None:
    url, gate = gated(steps=0, batch=1)
    with httpx.stream("POST", f"{url}/v1/completions", json=LONG | {"stream": True, "n": 2}):
        assert gate.is_reached.wait(MOST_SECONDS)

    assert gate.is_open.wait(MOST_SECONDS)
    assert [text.cancelled for text in gate.texts] == [True, True]


@pytest.mark.parametrize("steps", [0, 3])
def test_a_text_ends_when_its_time_is_up(gated: Gated, steps: int) -> None:
    url, _ = gated(steps=steps, time_limit=0.05)

    answer = httpx.post(f"{url}/v1/completions", json=LONG, timeout=MOST_SECONDS).json()

    [choice] = answer["choices"]
    assert choice["finish_reason"] == "timeout"
    assert answer["usage"]["completion_tokens"] < 20
    assert (choice["text"] == "") == (answer["usage"]["completion_tokens"] == 0)


def test_a_stream_ends_when_its_time_is_up(gated: Gated) -> None:
    url, _ = gated(steps=2, time_limit=0.05)
    body = LONG | {"stream": True, "n": 2}

    with httpx.stream("POST", f"{url}/v1/completions", json=body, timeout=MOST_SECONDS) as answer:
        parts = [part["choices"][0] for part in events(answer)]

    reasons = [part["finish_reason"] for part in parts if part["finish_reason"]]
    assert reasons == ["timeout", "timeout"]


def test_a_text_that_ends_by_itself_is_no_timeout(serve_with: Any) -> None:
    served = serve_with(time_limit=MOST_SECONDS)

    answer = httpx.post(f"{served.url}/v1/completions", json=LONG, timeout=MOST_SECONDS).json()

    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.fixture
def diverged(model: GPT2) -> GPT2:
    """A model whose logits are not finite."""
    with torch.no_grad():
        model.ln_f.weight.fill_(float("nan"))
    return model


def test_a_model_that_fails_is_an_error_and_the_server_lives_on(
    serve_with: Any, diverged: GPT2, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt2.serve.loading.warm_up", lambda engine: None)
    url = serve_with({"broken": diverged}).url

    for _ in range(2):
        answer = httpx.post(f"{url}/v1/completions", json=LONG, timeout=MOST_SECONDS)
        assert answer.status_code == 500
        assert answer.json()["error"]["type"] == "server_error"
        assert "diverged" in answer.json()["error"]["message"]
        with httpx.stream("POST", f"{url}/v1/completions", json=LONG | {"stream": True}) as stream:
            assert stream.status_code == 200
            lines = [line for line in stream.iter_lines() if line]
        assert "diverged" in json.loads(lines[0].removeprefix("data: "))["error"]["message"]
        assert lines[1:] == ["data: [DONE]"]


def test_a_defect_of_the_engine_says_nothing_of_what_it_was(
    serve_with: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve_with()

    def fail(engine: Engine) -> None:
        raise RuntimeError("a secret")

    with monkeypatch.context() as patch:
        patch.setattr(Engine, "_choose_pieces", lambda engine, extra: fail(engine))
        answer = httpx.post(f"{served.url}/v1/completions", json=LONG, timeout=MOST_SECONDS)

    assert answer.status_code == 500
    assert "secret" not in answer.text
    good = httpx.post(f"{served.url}/v1/completions", json=LONG, timeout=MOST_SECONDS)
    assert good.status_code == 200


def test_beyond_the_queue_a_request_is_refused_for_a_while(gated: Gated) -> None:
    url, gate = gated(steps=0, batch=1, queue=1)
    path = f"{url}/v1/completions"

    with httpx.stream("POST", path, json=LONG | {"stream": True, "n": 2}):
        refused = httpx.post(path, json=LONG)
        never = httpx.post(path, json=LONG | {"n": 3})
    assert gate.is_open.wait(MOST_SECONDS)

    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert refused.json()["error"]["type"] == "rate_limit_error"
    # That one would never be taken.
    assert (never.status_code, never.json()["error"]["param"]) == (400, "n")
