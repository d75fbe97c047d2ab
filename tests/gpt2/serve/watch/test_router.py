"""The routes of the page of runs, over real connections."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from gpt2.config import ServeConfig
from gpt2.files.pretrained import GPT2
from gpt2.serve.server import Loaded, Server
from gpt2.serve.watch.server import watch_app
from gpt2.serve.watch.watcher import Watcher
from gpt2.visual.moments import observe, write_moment

MOST_SECONDS = 30


@dataclass(frozen=True)
class Watched:
    """A server of runs."""

    url: str
    server: Server
    watcher: Watcher
    thread: Thread


@contextmanager
def watching(runs: list[Path], **settings: Any) -> Iterator[Watched]:
    """Serve runs on a free port while the context lasts."""
    started: Future[tuple[str, Server, Watcher]] = Future()

    async def serve() -> None:
        server = Server(ServeConfig(port=0, **settings))
        watcher = Watcher(runs, seconds=0.01)

        async def load() -> Loaded:
            return Loaded(watch_app(watcher, needs_key="api_key" in settings))

        await server.run_until_stopped(load, lambda url: started.set_result((url, server, watcher)))

    thread = Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    url, server, watcher = started.result(MOST_SECONDS)
    try:
        yield Watched(url, server, watcher, thread)
    finally:
        if thread.is_alive():
            server.stop()
        thread.join(MOST_SECONDS)
        assert not thread.is_alive()


@pytest.fixture
def serve_runs(request_lines: list[str]) -> Iterator[Callable[..., Watched]]:
    """Serve runs for this test."""
    with ExitStack() as stack:
        yield lambda *runs, **settings: stack.enter_context(watching(list(runs), **settings))


def data_of(html: str) -> dict[str, Any]:
    """The JSON inside a page, by its id."""
    found = re.findall(r'<script type="application/json" id="([\w-]+)">(.*?)</script>', html)
    return {name: json.loads(text) for name, text in found}


def next_event(lines: Iterator[str]) -> dict[str, Any]:
    """The next event of a stream."""
    return json.loads(next(line for line in lines if line.startswith("data: "))[6:])


def test_the_page_has_the_runs_under_a_strict_policy(written: Any, serve_runs: Any) -> None:
    watched = serve_runs(written.directory)
    answer = httpx.get(watched.url, follow_redirects=True)
    assert (answer.status_code, answer.url.path) == (200, "/run")
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    page = data_of(answer.text)["page"]
    assert page["live"] is True
    assert page["runs"] == [{"id": "0", "name": "run", "directory": str(written.directory)}]
    assert {"series", "dashes", "weights"} <= page["colors"].keys()


def test_without_the_key_the_page_does_not_show_where_the_runs_are(
    written: Any, serve_runs: Any
) -> None:
    watched = serve_runs(written.directory, api_key="a-key")
    answer = httpx.get(f"{watched.url}/run")
    assert data_of(answer.text)["page"]["runs"] == [{"id": "0", "name": "run", "directory": "run"}]
    assert str(written.directory) not in answer.text
    assert httpx.get(f"{watched.url}/run/events").status_code == 401


def test_events_come_while_the_run_trains(written: Any, serve_runs: Any) -> None:
    written.begin()
    watched = serve_runs(written.directory)
    with httpx.stream("GET", f"{watched.url}/run/events", timeout=MOST_SECONDS) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next_event(lines)["kind"] == "all"
        written.append(written.step_row(1))
        assert next_event(lines)["rows"] == [written.step_row(1)]
        written.replace(written.step_row(1, loss=9.0))
        while (event := next_event(lines))["kind"] != "all":
            pass
        assert event["state"]["rows"][0]["loss"] == 9.0


def test_a_reader_that_leaves_is_forgotten(written: Any, serve_runs: Any) -> None:
    watched = serve_runs(written.directory)
    with httpx.stream("GET", f"{watched.url}/run/events", timeout=MOST_SECONDS) as answer:
        lines = answer.iter_lines()  # which closes the connection when it is let go
        next_event(lines)
        assert watched.watcher._readers
    for _ in range(1000):
        httpx.get(f"{watched.url}/health")
        if not watched.watcher._readers:
            break
    assert not watched.watcher._readers


def test_a_stream_does_not_keep_the_server_from_stopping(written: Any, serve_runs: Any) -> None:
    watched = serve_runs(written.directory, grace=1000.0)
    with httpx.stream("GET", f"{watched.url}/run/events", timeout=MOST_SECONDS) as answer:
        lines = answer.iter_lines()
        next_event(lines)
        watched.server.stop()
        watched.thread.join(MOST_SECONDS)
        assert not watched.thread.is_alive()


def test_the_history_has_the_moments_that_can_be_read(
    written: Any, serve_runs: Any, model: GPT2
) -> None:
    written.begin()
    written.append(written.step_row(1), written.held_out_row(1, 5.5))
    ids = model.require_tokenizer().encode("Permission is")
    for step in (0, 1):
        write_moment(written.directory, observe(model, ids, step=step, tokens=64 * step))
    written.moment(2)  # it is damaged, or being removed
    watched = serve_runs(written.directory)
    history = httpx.get(f"{watched.url}/run/history?run=0").json()
    assert [moment["step"] for moment in history["moments"]] == [0, 1]
    assert (history["loss"]["loss"], history["loss"]["val_loss"]) == ([5.0], [5.5])


def test_of_a_run_without_anything_the_history_is_null(written: Any, serve_runs: Any) -> None:
    watched = serve_runs(written.directory)
    assert httpx.get(f"{watched.url}/run/history?run=0").json() is None


def test_an_unknown_run_is_refused(written: Any, serve_runs: Any) -> None:
    watched = serve_runs(written.directory)
    answer = httpx.get(f"{watched.url}/run/history?run=7")
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "no run '7'; this server has 0"


def test_the_page_as_one_file_has_all_that_is_known(written: Any, serve_runs: Any) -> None:
    written.begin()
    written.append(written.step_row(1))
    sample = {"prompt": "A", "text": "</script>\ud800 "}
    written.append(written.held_out_row(1, 5.5) | {"samples": [sample]})
    watched = serve_runs(written.directory)
    answer = httpx.get(f"{watched.url}/run/file")
    assert answer.headers["Content-Disposition"].startswith("attachment")
    assert 'src="' not in answer.text
    data = data_of(answer.text)
    assert data.keys() == {"page", "run-0", "history-0"}
    assert data["page"]["live"] is False
    assert data["run-0"]["rows"] == [written.step_row(1)]
    assert data["run-0"]["held_out"][0]["samples"] == [sample]
    assert data["history-0"]["loss"]["loss"] == [5.0]


def test_without_the_key_nothing_of_a_run_is_sent(written: Any, serve_runs: Any) -> None:
    watched = serve_runs(written.directory, api_key="secret")
    for path in ("/run/events", "/run/history?run=0", "/run/file"):
        assert httpx.get(watched.url + path).status_code == 401
    headers = {"Authorization": "Bearer secret"}
    assert httpx.get(f"{watched.url}/run/history?run=0", headers=headers).status_code == 200


def test_a_served_checkpoint_of_a_run_has_its_page(serve_with: Any) -> None:
    served = serve_with()  # a model that is no checkpoint
    assert data_of(httpx.get(f"{served.url}/run").text)["page"]["runs"] == []
