"""How do many pages follow runs? One reader looks about once a second, while there is any page."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gpt2.files.run_directory import run_names
from gpt2.serve.watch.run import Event, RunWatch, State
from gpt2.serve.wire_format import compact
from llm_tokenizer import well_formed

SECONDS = 1.0  # between two looks
MOST_WAITING = 64  # events for a slow page; of more, it gets all of every run instead


class Watcher:
    """Follows runs for any number of pages.

    Args:
        runs: Their directories, which need not be there yet.
        seconds: Between two looks.
    """

    def __init__(self, runs: Sequence[Path], seconds: float = SECONDS) -> None:
        named = run_names(list(dict.fromkeys(runs)))
        self.names = {
            str(number): (well_formed(name), run)
            for number, (name, run) in enumerate(named.items())
        }
        self.seconds = seconds
        self._runs = {number: RunWatch(run, name) for number, (name, run) in self.names.items()}
        # A disk may be slow, and the runs are for one thread at a time.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="watch")
        self._readers: set[_Reader] = set()
        self._polling: asyncio.Task[None] | None = None

    async def events(self) -> AsyncGenerator[str, None]:
        """Yield events of all runs as JSON, everything first; "" where a second brought none."""
        reader = _Reader()
        self._readers.add(reader)
        try:
            await self.look()
            if self._polling is None or self._polling.done():
                self._polling = asyncio.create_task(self._poll())
            while True:
                if not reader.waiting:
                    await reader.wait(self.seconds)
                if self._polling.done():  # a look has failed: the page must not seem up to date
                    self._polling.result()
                waiting, reader.waiting = reader.waiting, []
                for event in waiting or [""]:
                    yield event
        finally:
            self._readers.discard(reader)

    async def look(self) -> None:
        """Look at all runs, and give their readers what is new."""
        # Whoever asked may be cancelled: the others get what this look has found all the same.
        await asyncio.shield(asyncio.ensure_future(self._look()))

    async def states(self) -> dict[str, State]:
        """Return all that is known now, by the run's id."""
        await self.look()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._states)

    async def have_ended(self) -> bool:
        """Return whether all runs have ended."""
        states = await self.states()
        return all(state["status"]["phase"] == "ended" for state in states.values())

    async def _poll(self) -> None:
        while self._readers:
            await asyncio.sleep(self.seconds)
            await self.look()

    async def _look(self) -> None:
        needs_all = any(reader.needs_all for reader in self._readers)
        loop = asyncio.get_running_loop()
        news, everything = await loop.run_in_executor(self._thread, self._read, needs_all)
        for reader in self._readers:
            reader.take(news, everything)

    def _read(self, needs_all: bool) -> tuple[list[str], list[str]]:
        """Return what is new, and, if it is needed, everything."""
        now, runs = time.time(), self._runs.items()
        news = [_line(number, event) for number, run in runs for event in run.look(now)]
        if not needs_all:
            return news, []
        states = self._states().items()
        return news, [_line(number, {"kind": "all", "state": state}) for number, state in states]

    def _states(self) -> dict[str, State]:
        return {number: run.state() for number, run in self._runs.items()}


class _Reader:
    """What one page has not read yet."""

    def __init__(self) -> None:
        self.needs_all = True
        self.waiting: list[str] = []
        self._is_new = asyncio.Event()

    def take(self, news: Sequence[str], everything: Sequence[str]) -> None:
        """Take what is new, or everything where that is needed."""
        if not self.needs_all:
            self.waiting += news
            self.needs_all = len(self.waiting) > MOST_WAITING
        elif everything:
            self.waiting, self.needs_all = list(everything), False
        if self.needs_all:
            self.waiting = []
        if self.waiting:
            self._is_new.set()

    async def wait(self, seconds: float) -> None:
        """Wait until something is there, for a time at the most."""
        self._is_new.clear()
        try:
            await asyncio.wait_for(self._is_new.wait(), seconds)
        except TimeoutError:
            return


def _line(number: str, event: Event) -> str:
    return compact({"run": number, **event})
