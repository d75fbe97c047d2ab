"""How the server starts, listens and stops, tried by real connections."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.responses import StreamingResponse

from gpt2.config import ServeConfig
from gpt2.errors import CheckpointError, ConfigError
from gpt2.serve.server import ListenError, Loaded, Server, listen, serve, url_of

Served = ServeWith = Any  # of conftest.py
Client = httpx.AsyncClient

MOST_SECONDS = 120.0


def run(
    load: Callable[[], Awaitable[Loaded]],
    ask: Callable[[Server, str, Client], Awaitable[None]],
    **settings: Any,
) -> None:
    """Start a server, ask it something, and wait until it has ended."""

    async def both() -> None:
        config = ServeConfig(**{"port": free_port(), "grace": 0.0, **settings})
        server = Server(config)
        running = asyncio.ensure_future(server.run_until_stopped(load, lambda url: None))
        while not server.started and not running.done():
            await asyncio.sleep(0)
        try:
            async with Client(timeout=MOST_SECONDS) as client:
                await ask(server, f"http://127.0.0.1:{config.port}", client)
        finally:
            server.stop()
            await asyncio.wait_for(running, MOST_SECONDS)

    asyncio.run(both())


def free_port() -> int:
    with listen("127.0.0.1", 0) as listener:
        return int(listener.getsockname()[1])


def events_of(text: str) -> list[Any]:
    return [json.loads(line.removeprefix("data: ")) for line in text.split("\n\n")[:-2]]


def test_it_listens_while_its_models_are_loaded() -> None:
    async def ask(server: Server, url: str, client: Client) -> None:
        health, other = await client.get(f"{url}/health"), await client.get(f"{url}/v1/models")
        assert (health.status_code, health.json()) == (503, {"status": "loading"})
        assert other.status_code == 503
        assert other.json()["error"]["code"] == "loading"
        assert health.headers["retry-after"] == other.headers["retry-after"] == "5"

        loading.set()
        while server.gate.phase == "loading":
            await asyncio.sleep(0)
        health, other = await client.get(f"{url}/health"), await client.get(f"{url}/v1/models")
        assert (health.status_code, health.json()) == (200, {"status": "ok"})
        assert other.status_code == 404  # the application's answer

    loading = asyncio.Event()

    async def load() -> Loaded:
        await loading.wait()
        return Loaded(FastAPI())

    run(load, ask)


def test_while_models_load_a_browser_gets_a_page_that_asks_again() -> None:
    async def ask(server: Server, url: str, client: Client) -> None:
        for accepts, kind in (("text/html,*/*;q=0.8", "text/html"), ("*/*", "application/json")):
            answer = await client.get(url, headers={"Accept": accepts})
            assert answer.status_code == 503
            assert answer.headers["content-type"].partition(";")[0] == kind
            assert answer.headers.get("refresh") == ("5" if kind == "text/html" else None)
        loading.set()

    loading = asyncio.Event()

    async def load() -> Loaded:
        await loading.wait()
        return Loaded(FastAPI())

    run(load, ask)


def test_a_model_that_cannot_be_loaded_ends_it() -> None:
    async def load() -> Loaded:
        raise CheckpointError("there is no such model")

    async def both() -> None:
        server = Server(ServeConfig(port=0))
        await asyncio.wait_for(server.run_until_stopped(load, print), MOST_SECONDS)

    with pytest.raises(CheckpointError, match="there is no such model"):
        asyncio.run(both())


def test_a_port_in_use_is_one_clear_line() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=f"cannot listen on 127.0.0.1, port {port}: .*in use"):
            listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["192.0.2.1", "a..b", "x" * 70])
def test_a_host_that_is_not_this_machines_is_one_clear_line(host: str) -> None:
    with pytest.raises(ListenError, match=f"cannot listen on {host}, port 0: .+; give another"):
        listen(host, 0)


def test_without_a_key_other_machines_cannot_reach_it() -> None:
    config = ServeConfig(host="0.0.0.0")

    with pytest.raises(ConfigError, match="unless there is an API key"):
        asyncio.run(serve({}, lambda path: None, config, print))  # type: ignore[arg-type, return-value]


def test_a_token_is_sent_without_waiting_for_more_to_send() -> None:
    with (
        listen("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        # Otherwise the kernel holds back what is small until the client has confirmed the last.
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_address_is_one_that_a_browser_takes() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]

        assert url_of("localhost", listener) == f"http://localhost:{port}"
        assert url_of("::1", listener) == f"http://[::1]:{port}"


def test_a_text_may_end_within_the_grace(serve_with: ServeWith, endless_model: Any) -> None:
    served = serve_with(models={"tiny": endless_model}, grace=20 * MOST_SECONDS)
    body = {"prompt": [5], "max_tokens": 100, "stream": True, "return_token_ids": True}

    with httpx.stream(
        "POST", f"{served.url}/v1/completions", json=body, timeout=MOST_SECONDS
    ) as answer:
        pieces = answer.iter_text()
        first = next(pieces)
        served.server.stop()
        text = first + "".join(pieces)

    assert text.endswith("data: [DONE]\n\n")
    choices = [event["choices"][0] for event in events_of(text)]
    assert choices[-1]["finish_reason"] == "length"
    assert sum(len(choice["token_ids"]) for choice in choices) == 100


def test_after_the_grace_texts_end_with_a_reason(serve_with: ServeWith, endless_model: Any) -> None:
    served = serve_with(models={"tiny": endless_model}, grace=0.0)
    body = {"prompt": [5], "max_tokens": 15_000, "stream": True, "n": 2}

    with httpx.stream(
        "POST", f"{served.url}/v1/completions", json=body, timeout=MOST_SECONDS
    ) as answer:
        pieces = answer.iter_text()
        first = next(pieces)
        served.server.stop()
        text = first + "".join(pieces)

    assert text.endswith("data: [DONE]\n\n")
    choices = [event["choices"][0] for event in events_of(text)]
    reasons = {(choice["index"], choice["finish_reason"]) for choice in choices}
    assert reasons - {(0, None), (1, None)} == {(0, "abort"), (1, "abort")}


def test_while_it_stops_new_requests_are_sent_away(
    serve_with: ServeWith, endless_model: Any
) -> None:
    served = serve_with(models={"tiny": endless_model}, grace=20 * MOST_SECONDS)
    body = {"prompt": [5], "max_tokens": 15_000, "stream": True}

    with httpx.stream(
        "POST", f"{served.url}/v1/completions", json=body, timeout=MOST_SECONDS
    ) as answer:
        pieces = answer.iter_text()
        next(pieces)
        served.server.stop()
        health = httpx.get(f"{served.url}/health")
        while health.status_code == 200:
            health = httpx.get(f"{served.url}/health")
        other = httpx.post(f"{served.url}/v1/completions", json=body)

    assert (health.status_code, health.json()) == (503, {"status": "stopping"})
    assert other.status_code == 503
    assert other.json()["error"]["code"] == "stopping"
    assert other.headers["retry-after"] == "5"
    assert other.headers["connection"] == "close"


def test_connections_without_a_request_do_not_delay_the_end(serve_with: ServeWith) -> None:
    served = serve_with(grace=10 * MOST_SECONDS)
    with httpx.Client() as client:
        assert client.get(f"{served.url}/health").status_code == 200  # and is kept open
        host, port = served.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as silent:
            silent.settimeout(MOST_SECONDS)
            while len(served.server.server_state.connections) < 2:  # until it is accepted
                client.get(f"{served.url}/health")
            served.server.stop()

            assert silent.recv(1) == b""  # the server has closed it


def test_a_body_that_does_not_come_does_not_delay_the_end() -> None:
    async def load() -> Loaded:
        return Loaded(FastAPI())

    async def ask(server: Server, url: str, client: Client) -> None:
        while server.gate.phase == "loading":
            await asyncio.sleep(0)
        reader, writer = await asyncio.open_connection(*url.removeprefix("http://").split(":"))
        writer.write(
            b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b'Content-Length: 20\r\n\r\n{"prompt"'
        )
        while not server.gate.count:
            await asyncio.sleep(0)
        server.stop()
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b'"code":"stopping"' in answer
        writer.close()

    run(load, ask, grace=10 * MOST_SECONDS)


def test_events_without_an_end_do_not_delay_the_end() -> None:
    app = FastAPI()

    @app.get("/events")
    def events() -> StreamingResponse:
        async def ticks() -> AsyncIterator[str]:
            yield "data: 1\n\n"
            await asyncio.Event().wait()

        return StreamingResponse(ticks(), media_type="text/event-stream")

    async def load() -> Loaded:
        return Loaded(app)

    async def ask(server: Server, url: str, client: Client) -> None:
        while server.gate.phase == "loading":
            await asyncio.sleep(0)
        async with client.stream("GET", f"{url}/events") as answer:
            pieces = answer.aiter_text()
            assert await anext(pieces) == "data: 1\n\n"
            server.stop()
            with pytest.raises((StopAsyncIteration, httpx.RemoteProtocolError)):
                await anext(pieces)

    run(load, ask, grace=10 * MOST_SECONDS)


def test_a_client_that_reads_no_further_does_not_delay_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gpt2.serve.server.LAST_SECONDS", 0.01)
    app = FastAPI()

    @app.post("/much")
    def much() -> StreamingResponse:
        async def pieces() -> AsyncIterator[bytes]:
            while True:
                yield b" " * 1_000_000

        return StreamingResponse(pieces())

    async def load() -> Loaded:
        return Loaded(app)

    async def ask(server: Server, url: str, client: Client) -> None:
        while server.gate.phase == "loading":
            await asyncio.sleep(0)
        stream = client.stream("POST", f"{url}/much")
        await stream.__aenter__()
        server.stop()
        while server.started and not server.should_exit:
            await asyncio.sleep(0)
        await stream.__aexit__(None, None, None)

    run(load, ask)


def test_a_full_queue_says_when_to_try_again(serve_with: ServeWith, endless_model: Any) -> None:
    served = serve_with(models={"tiny": endless_model}, batch=1, queue=1)
    url = f"{served.url}/v1/completions"
    body = {"prompt": [5], "n": 2, "max_tokens": 15_000, "stream": True}

    with httpx.stream("POST", url, json=body, timeout=MOST_SECONDS) as answer:
        pieces = answer.iter_text()
        next(pieces)
        refused = httpx.post(url, json={"prompt": [5], "max_tokens": 1})

    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "1"
    assert "up to 2 texts" in refused.json()["error"]["message"]
