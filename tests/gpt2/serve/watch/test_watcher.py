"""Many pages follow runs, and one reader looks."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from gpt2.serve.watch import watcher as watching
from gpt2.serve.watch.run import RunWatch
from gpt2.serve.watch.watcher import Watcher

MOST_SECONDS = 30
NEVER = 3600.0  # seconds between two looks: the test alone looks


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test in an event loop, for a time at the most.

    It has a thread of its own: after a test with a browser, this one has a loop already.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        waited = asyncio.wait_for(test(), MOST_SECONDS)  # type: ignore[arg-type]
        thread.submit(asyncio.run, waited).result()


async def next_event(events: AsyncGenerator[str, None]) -> dict[str, Any]:
    """The next event that is one."""
    while not (event := await anext(events)):
        pass
    return json.loads(event)


def test_a_page_gets_everything_and_then_what_is_new(written: Any) -> None:
    written.begin()
    written.append(written.step_row(1))

    async def follow() -> None:
        events = Watcher([written.directory], seconds=0.001).events()
        first = await next_event(events)
        assert (first["run"], first["kind"], len(first["state"]["rows"])) == ("0", "all", 1)
        assert await anext(events) == ""  # nothing new
        written.append(written.step_row(2))
        assert await next_event(events) == {
            "run": "0",
            "kind": "rows",
            "rows": [written.step_row(2)],
        }
        await events.aclose()

    run(follow)


def test_several_runs_have_their_own_events(written: Any, tmp_path: Path) -> None:
    written.begin()

    async def follow() -> None:
        watcher = Watcher([tmp_path / "later", written.directory], seconds=NEVER)
        events = watcher.events()
        first = [await next_event(events), await next_event(events)]
        assert [(event["run"], event["state"]["name"]) for event in first] == [
            ("0", "later"),
            ("1", "run"),
        ]
        written.append(written.step_row(1))
        await watcher.look()
        assert (await next_event(events))["run"] == "1"

    run(follow)


def test_a_second_page_has_the_state_of_now_and_both_get_the_same_from_then_on(
    written: Any,
) -> None:
    written.begin()

    async def follow() -> None:
        watcher = Watcher([written.directory], seconds=NEVER)
        one, other = watcher.events(), watcher.events()
        assert (await next_event(one))["state"]["rows"] == []
        written.append(written.step_row(1))
        assert (await next_event(other))["state"]["rows"] == [written.step_row(1)]
        assert (await next_event(one))["rows"] == [written.step_row(1)]
        assert (await next_event(one))["part"] == "status"
        written.append(written.step_row(2))
        await watcher.look()
        assert await next_event(one) == await next_event(other)

    run(follow)


def test_a_page_that_reads_slowly_gets_everything_anew(
    written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "MOST_WAITING", 4)
    written.begin()

    async def follow() -> None:
        watcher = Watcher([written.directory], seconds=NEVER)
        events = watcher.events()
        await next_event(events)
        for step in range(1, 6):  # two events each, of which two steps' may wait
            written.append(written.step_row(step))
            await watcher.look()
        event = await next_event(events)
        assert event["kind"] == "all"
        assert len(event["state"]["rows"]) == 4
        assert (await next_event(events))["rows"] == [written.step_row(5)]

    run(follow)


def test_a_page_that_leaves_amid_a_look_takes_nothing_from_the_others(written: Any) -> None:
    written.begin()

    async def follow() -> None:
        watcher = Watcher([written.directory], seconds=NEVER)
        events = watcher.events()
        await next_event(events)
        written.append(written.step_row(1))
        leaving = asyncio.ensure_future(watcher.look())
        await asyncio.sleep(0)  # it has begun
        leaving.cancel()
        assert (await next_event(events))["rows"] == [written.step_row(1)]

    run(follow)


def test_nobody_looks_while_there_is_no_page(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[float] = []
    look = RunWatch.look
    monkeypatch.setattr(RunWatch, "look", lambda *args: looks.append(args[1]) or look(*args))

    async def follow() -> None:
        watcher = Watcher([written.directory], seconds=0.001)
        assert not looks
        events = watcher.events()
        await next_event(events)
        assert looks
        await events.aclose()
        assert watcher._polling is not None
        await watcher._polling  # it ends

        again = watcher.events()  # and begins again
        before = len(looks)
        await next_event(again)
        assert len(looks) > before
        await again.aclose()

    run(follow)


def test_the_states_are_those_of_now_and_say_whether_all_runs_have_ended(written: Any) -> None:
    written.begin()

    async def follow() -> None:
        watcher = Watcher([written.directory, written.directory], seconds=NEVER)  # once is enough
        assert list(await watcher.states()) == ["0"]
        assert not await watcher.have_ended()
        written.append(*map(written.step_row, range(1, 7)), written.held_out_row(6, 3.0))
        (written.directory / "report.md").write_text("")
        assert await watcher.have_ended()

    run(follow)


def test_a_look_that_fails_ends_the_pages_and_the_next_page_is_followed_again(
    written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    written.begin()

    async def follow() -> None:
        watcher = Watcher([written.directory], seconds=0.001)
        events = watcher.events()
        assert (await next_event(events))["kind"] == "all"
        with monkeypatch.context() as patch:
            patch.setattr(RunWatch, "look", lambda self, now: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                await next_event(events)
        events = watcher.events()
        assert (await next_event(events))["kind"] == "all"
        written.append(written.step_row(1))
        assert (await next_event(events))["kind"] == "rows"
        await events.aclose()

    run(follow)
