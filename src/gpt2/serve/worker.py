"""How do requests reach an engine? A thread computes its steps, and wakes those who wait."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import NamedTuple

from gpt2.config import GenerationConfig
from gpt2.errors import Gpt2Error
from gpt2.generation.continuation import Continuation, FinishReason
from gpt2.generation.engine import Engine
from gpt2.progress import log


class QueueFullError(Gpt2Error):
    """More texts wait than may."""


class Order(NamedTuple):
    """A text to write; see `Engine.submit`."""

    prompt_ids: Sequence[int]
    config: GenerationConfig
    sample: int = 0
    score_prompt: bool = False


@dataclass(eq=False)
class Writing:
    """A text that is being written, as the event loop sees it between two steps."""

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
    """What has become of a text after a step."""

    text: Continuation
    prompt_is_read: bool
    tokens: int
    pieces: int
    finish_reason: FinishReason | None
    error: Exception | None


class Worker:
    """Writes the texts of one model.

    `submit`, `cancel` and what a `Writing` holds are for the event loop's thread alone.

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
            QueueFullError: Too many wait.
            InputError: A text cannot be written; see `Engine.submit`.
        """
        if self.count + len(orders) > self.most:
            raise QueueFullError(
                f"up to {self.most} texts may be written or wait, and {self.count} do; "
                "try again later"
            )
        texts: list[Continuation] = []
        try:
            for order in orders:
                ids, config, sample, score_prompt = order
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

    def cancel(self, writings: Sequence[Writing]) -> None:
        """End texts that nobody waits for any more; their places are free at the next step."""
        for writing in writings:
            writing.text.cancelled = True

    def cancel_all(self) -> None:
        """End all texts."""
        self.cancel(list(self._writings.values()))

    def stop(self) -> None:
        """End the thread after the step that it computes."""
        with self._has_work:
            self._stopping = True
            self._has_work.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._has_work:
                self._has_work.wait_for(lambda: self._stopping or self.engine.busy)
            if self._stopping:
                return
            news = self._step()
            if news:
                self._loop.call_soon_threadsafe(self._spread, news)

    def _step(self) -> list[_News]:
        try:
            changed = self.engine.step()
        except Exception as error:  # the server lives on: this concerns those texts alone
            log(f"the engine failed: {type(error).__name__}")
            return [_News(text, False, 0, 0, None, error) for text in self.engine.abandon()]
        return [
            _News(
                text,
                text.prompt_is_read,
                len(text.tokens),
                len(text.pieces),
                text.finish_reason,
                None,
            )
            for text in changed
        ]

    def _spread(self, news: Sequence[_News]) -> None:
        for text, prompt_is_read, tokens, pieces, finish_reason, error in news:
            writing = self._writings.get(text)
            if writing is None:  # it was cancelled before it was known
                continue
            writing.prompt_is_read = prompt_is_read
            if tokens > writing.tokens:
                writing.last_token = time.monotonic()
                writing.first_token = writing.first_token or writing.last_token
            writing.tokens, writing.pieces = tokens, pieces
            writing.finish_reason, writing.error = finish_reason, error
            writing.changed.set()
            if writing.has_ended:
                del self._writings[text]
                self._note_end(writing)
