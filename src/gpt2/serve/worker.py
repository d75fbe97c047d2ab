"""How do requests reach an engine? A thread computes its steps, and wakes those who wait."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import NamedTuple

from gpt2.config import GenerationConfig
from gpt2.errors import Gpt2Error
from gpt2.generation.continuation import Continuation, FinishReason
from gpt2.generation.engine import Engine
from gpt2.progress import log
from gpt2.serve.errors import type_and_place


class QueueFullError(Gpt2Error):
    """No more texts are taken: too many wait, or the worker has stopped."""


class Order(NamedTuple):
    """A text to write; see `Engine.submit`."""

    prompt_ids: Sequence[int]
    config: GenerationConfig
    sample: int = 0
    score_prompt: bool = False


@dataclass(eq=False)
class Writing:
    """A text that is being written, as the event loop sees it between two steps.

    The engine appends to `text` at any time: no more of it may be read than is counted here.
    """

    text: Continuation
    prompt_is_read: bool = False  # so that text.prompt_tokens may be read
    tokens: int = 0  # of text.tokens that may be read
    pieces: int = 0  # of text.pieces that may be read
    finish_reason: FinishReason | None = None
    error: Exception | None = None  # what ended it, if anything went wrong
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    submitted: float = field(default_factory=time.monotonic)  # this and the next two in seconds
    first_token: float | None = None
    last_token: float | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more comes."""
        return self.finish_reason is not None or self.error is not None


class _News(NamedTuple):
    """What has become of a text after a step; its numbers are those of a `Writing`."""

    text: Continuation
    prompt_is_read: bool
    tokens: int
    pieces: int
    finish_reason: FinishReason | None
    error: Exception | None


class Worker:
    """Writes the texts of one model.

    All methods, and what a `Writing` holds, are for the event loop's thread alone.

    Args:
        engine: Which no one else uses.
        most: Texts that may be written or wait at the same time.
        loop: Event loop of those who submit.
        note_end: Called with each text that has ended.
    """

    def __init__(
        self,
        engine: Engine,
        most: int,
        loop: asyncio.AbstractEventLoop,
        note_end: Callable[[Writing], object] = lambda _: None,
    ) -> None:
        self.engine = engine
        self.most = most
        self._note_end = note_end
        self._loop = loop
        self._writings: dict[Continuation, Writing] = {}
        self._has_work = Condition()
        self._stopping = False
        self._thread = Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def count(self) -> int:
        """Texts that are being written, or wait."""
        return len(self._writings)

    def submit(self, orders: Sequence[Order]) -> list[Writing]:
        """Ask for some texts, of one request: all of them or none.

        Raises:
            QueueFullError: Too many wait, or the worker has stopped.
            InputError: A text cannot be written; see `Engine.submit`.
        """
        if self._stopping:
            raise QueueFullError("the server takes no more texts, as it stops; try again later")
        if self.count + len(orders) > self.most:
            raise QueueFullError(
                f"up to {self.most} texts may be written or wait, and {self.count} do; "
                "try again later"
            )
        texts: list[Continuation] = []
        try:
            for ids, config, sample, score_prompt in orders:
                texts.append(self.engine.submit(ids, config, sample, score_prompt=score_prompt))
        except Gpt2Error:
            for text in texts:
                text.cancelled = True
            raise
        finally:
            with self._has_work:
                self._has_work.notify()
        writings = [Writing(text) for text in texts]
        self._writings |= zip(texts, writings, strict=True)
        return writings

    def cancel(self, writings: Iterable[Writing]) -> None:
        """End texts that nobody waits for any more; their places are free at the next step."""
        for writing in writings:
            writing.text.cancelled = True

    def cancel_all(self) -> None:
        """End all texts."""
        self.cancel(self._writings.values())

    def stop(self) -> None:
        """End the thread after the step that it computes, and with it all texts."""
        with self._has_work:
            self._stopping = True
            self._has_work.notify()
        self._thread.join()
        left = list(self._writings)
        for text in left:
            if text.finish_reason is None:
                text.finish("cancelled")
        self._spread([_news(text) for text in left])

    def _run(self) -> None:
        while True:
            with self._has_work:
                self._has_work.wait_for(lambda: self._stopping or self.engine.busy)
            if self._stopping:
                return
            if news := self._step():
                with suppress(RuntimeError):  # the loop has closed: nobody waits any more
                    self._loop.call_soon_threadsafe(self._spread, news)

    def _step(self) -> list[_News]:
        try:
            return [_news(text) for text in self.engine.step()]
        except Exception as error:  # the server lives on: this concerns the running texts alone
            failed = self.engine.abandon()
            what = type_and_place(error)
            log(f"a step of the engine failed, and {len(failed)} texts with it: {what}")
            error.__traceback__ = None  # it would keep the memory of the step
            # The step may have ended others before it failed: those that were cancelled.
            others = {text for text in self._writings.copy() if text.finish_reason}
            news = [_news(text, error) for text in failed]
            return news + [_news(text) for text in others.difference(failed)]

    def _spread(self, news: Iterable[_News]) -> None:
        for text, prompt_is_read, tokens, pieces, finish_reason, error in news:
            writing = self._writings.get(text)
            if writing is None:  # it has ended; or it was cancelled before it was known
                continue
            if tokens > writing.tokens:
                writing.last_token = time.monotonic()
                writing.first_token = writing.first_token or writing.last_token
            writing.prompt_is_read, writing.tokens, writing.pieces = prompt_is_read, tokens, pieces
            writing.finish_reason, writing.error = finish_reason, error
            writing.changed.set()
            if writing.has_ended:
                del self._writings[text]
                self._note_end(writing)


def _news(text: Continuation, error: Exception | None = None) -> _News:
    tokens, pieces = len(text.tokens), len(text.pieces)
    return _News(text, text.prompt_is_read, tokens, pieces, text.finish_reason, error)
