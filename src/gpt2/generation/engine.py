"""The engine: continues several texts at once, which join and leave between its steps.

A step is one pass of the network, in which each text that is being written gets one token or more,
and those that have just joined are read, some tokens at a time. What a text becomes depends on its
prompt and its settings alone, not on what else runs: to the bit where `Runner.is_invariant` is
true, and except for near ties elsewhere.
"""

import math
import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch

from gpt2.config import GenerationConfig
from gpt2.errors import ConfigError, InputError, NotFiniteError
from gpt2.files.pretrained import GPT2
from gpt2.generation.continuation import Continuation, checked_ids
from gpt2.generation.prefix_index import BLOCK, PrefixIndex
from gpt2.generation.runner import Logits, Piece, Runner, TextCache
from gpt2.generation.runners import Precision, make_runner

MOST_TEXTS = 16  # that are written at the same time, unless the caller says otherwise


class Load(NamedTuple):
    """What an engine has to do, and the memory of its caches."""

    running: int  # texts
    waiting: int  # texts
    cache_bytes: int  # that texts, finished ones too, have taken
    most_cache_bytes: int


class Engine:
    """Continues texts.

    `submit` and `Continuation.cancelled` may be used by other threads than that which calls `step`.

    Args:
        model: What it computes with; on the CPU its weights are copied.
        precision: Of the weights on a CPU, see `make_runner`.
        memory: Bytes that all caches together may take, at the most and if None enough for
            `most_texts` texts of n_positions tokens. Off the compiled pass all of that is taken.
        most_texts: Texts that are written at the same time, at least 1; others wait.
        threads: Of a CPU, at least 1; as many as torch uses if None.
        take: Where the weights are copied, take those of the blocks out of the model, which is of
            no other use then: half of the memory.
    """

    def __init__(
        self,
        model: GPT2,
        *,
        precision: Precision = "auto",
        memory: int | None = None,
        most_texts: int = MOST_TEXTS,
        threads: int | None = None,
        take: bool = False,
    ) -> None:
        if most_texts < 1:
            raise ConfigError(f"most_texts must be at least 1, got {most_texts}")
        self._model = model
        self.runner: Runner = make_runner(
            model, precision, most_texts, threads, memory=memory, take=take
        )
        self._most_texts = most_texts
        whole = self.runner.bytes_of(model.config.n_positions)
        self._memory = most_texts * whole if memory is None else min(memory, most_texts * whole)
        self._waiting: deque[Continuation] = deque()
        self._running: list[Continuation] = []
        # Caches of finished texts, of which others copy prefixes; the first is dropped first.
        self._finished: OrderedDict[_Finished, None] = OrderedDict()
        self._prefixes: PrefixIndex[Continuation | _Finished] = PrefixIndex()
        self._running_bytes = self._finished_bytes = 0
        self._pace = _Pace()

    @property
    def busy(self) -> bool:
        """Whether a text is being written, or waits for it."""
        return bool(self._running or self._waiting)

    @property
    def load(self) -> Load:
        """What it has to do; any thread may ask."""
        taken = self._running_bytes + self._finished_bytes
        return Load(len(self._running), len(self._waiting), taken, self._memory)

    def submit(
        self,
        prompt_ids: Sequence[int],
        config: GenerationConfig,
        sample: int = 0,
        *,
        score_prompt: bool = False,
    ) -> Continuation:
        """Ask for a text; it is written by `step`.

        To score a prompt alone, ask for 0 new tokens: the text ends, as "length", when it is read.

        Args:
            prompt_ids: Tokens to continue, at least one.
            config: How to draw, and how much; num_samples does not count.
            sample: 0-based number of the sample, which has a stream of random numbers of its own.
            score_prompt: Report the log-probabilities of the prompt's tokens, too, with
                `config.top_log_probabilities` of the likeliest: see `Continuation.prompt_tokens`.
        Raises:
            InputError: There is no token, or one that the model has not; the text cannot fit into
                the memory; or the prompt to score has more than n_positions tokens.
        """
        ids = checked_ids(self._model, prompt_ids)
        most = self._model.config.n_positions
        if score_prompt and len(ids) > most:
            raise InputError(f"a prompt to score must have up to {most} tokens, got {len(ids)}")
        text = Continuation(self._model, ids, config, sample, score_prompt)
        needed = self.runner.bytes_of(text.capacity)
        if needed > self._memory:
            raise InputError(
                f"a text of {text.capacity} tokens needs {needed / 1e6:.1f} MB for its keys and "
                f"values, the engine has {self._memory / 1e6:.1f} MB; ask for fewer tokens, or "
                "give it more memory"
            )
        self._waiting.append(text)
        return text

    def step(self) -> list[Continuation]:
        """Compute one pass; return the texts that have got tokens or come to their end.

        Raises:
            NotFiniteError: The logits are not finite.
        """
        changed = self._drop_cancelled()
        self._admit()
        if not self._running:
            return changed
        extra = self._pace.extra if self._may_guess() else None
        read = self._choose_pieces(extra)
        pieces = [piece for _, piece in read]
        started = time.perf_counter()
        logits = self.runner.run(pieces)
        self._pace.record(pieces, time.perf_counter() - started)
        _check_finite(logits)
        return changed + self._draw(read, logits, extra)

    def abandon(self) -> list[Continuation]:
        """End all texts that are being written, and return them: `step` goes on with the others.

        It is for steps that failed; the caches may be damaged, so no other text begins with them.
        """
        ended = [*self._running]
        for text in ended:
            self._remove(text)
            text.cache = None
            text.finish("cancelled")
        return ended

    def _may_guess(self) -> bool:
        """Guesses must be checked exactly; and beside other texts a pass is not free."""
        return self.runner.is_invariant and len(self._running) == 1

    def _drop_cancelled(self) -> list[Continuation]:
        dropped = [text for text in (*self._running, *self._waiting) if text.cancelled]
        for text in dropped:
            text.finish("cancelled")
            if text in self._running:
                self._leave(text)
            else:
                self._waiting.remove(text)
        return dropped

    def _admit(self) -> None:
        """Let waiting texts join, in their order, as long as there is room."""
        free = self._most_texts - len(self._running)
        for text in [*self._waiting][:free]:
            donor, common = self._best_donor(text)
            if donor and donor.cached < common:
                continue  # its tokens are read soon: wait for them
            if isinstance(donor, _Finished):
                self._finished.move_to_end(donor)  # the last to give way
            if not self._make_room(self.runner.bytes_of(text.capacity)):
                return
            self._join(text)
            if donor and donor.cache is not None and text.cache is not None:
                text.cache.copy_from(donor.cache, common)

    def _best_donor(self, text: Continuation) -> "tuple[Continuation | _Finished | None, int]":
        """Return the text whose cache has the longest prefix of this one, and its tokens."""
        if text.score_prompt:
            return None, 0  # caches have no logits: it reads all of its prompt
        best: Continuation | _Finished | None = None
        common = BLOCK - 1  # fewer are read again as fast as they are copied
        for other in self._prefixes.find(text.context):
            length = _common_length(other.context, text.context)
            length = min(length, len(text.context) - 1)  # the last is read, for its logits
            if isinstance(other, _Finished):
                length = min(length, other.cached)
            if length > common:
                best, common = other, length
        return best, common

    def _make_room(self, needed: int) -> bool:
        """Return whether so many bytes are free, if need be after finished texts gave way."""
        if self._running_bytes + needed > self._memory:
            return False
        while self._running_bytes + self._finished_bytes + needed > self._memory:
            finished, _ = self._finished.popitem(last=False)
            self._prefixes.remove(finished)
            self._finished_bytes -= self.runner.bytes_of(finished.capacity)
            finished.cache = None
        return True

    def _choose_pieces(self, extra: float | None) -> list[tuple[Continuation, Piece]]:
        """Return what each text reads in this pass: first those that need one token alone.

        Short prompts come before long ones; but the one that joined first always gets some tokens.
        """
        left = self.runner.most_tokens
        first = next((text for text in self._running if text.unread() > 1), None)
        kept = 0 if first is None else min(first.unread(), left // 4)
        read = []
        for text in sorted(self._running, key=Continuation.unread):
            if text is first:
                kept = 0
            most = left - kept if text.unread() > 1 else left
            if most > 0:
                piece = text.next_piece(most, extra)
                left -= len(piece.ids)
                read.append((text, piece))
        return read

    def _draw(
        self, read: list[tuple[Continuation, Piece]], logits: Logits, extra: float | None
    ) -> list[Continuation]:
        changed, row = [], 0
        with _one_thread():
            for text, piece in read:
                if piece.wanted:
                    text.draw(logits, row, extra)
                    row += piece.wanted
                    if text.prompt_is_read:
                        changed.append(text)
                    if text.finish_reason:
                        self._leave(text)
        return changed

    def _join(self, text: Continuation) -> None:
        self._waiting.remove(text)
        self._running.append(text)
        self._running_bytes += self.runner.bytes_of(text.capacity)
        self._prefixes.add(text, text.context)
        text.cache = self.runner.new_cache(text.capacity)

    def _remove(self, text: Continuation) -> None:
        self._running.remove(text)
        self._running_bytes -= self.runner.bytes_of(text.capacity)
        self._prefixes.remove(text)

    def _leave(self, text: Continuation) -> None:
        self._remove(text)
        finished = _Finished(text.context, text.capacity, text.cache)
        self._finished[finished] = None
        self._finished_bytes += self.runner.bytes_of(text.capacity)
        self._prefixes.add(finished, text.context[: finished.cached])
        text.cache = None


@dataclass(eq=False)
class _Finished:
    """What is kept of a text that has ended."""

    context: list[int]
    capacity: int
    cache: TextCache | None

    @property
    def cached(self) -> int:
        """Tokens of the context that are cached."""
        return self.cache.length if self.cache else 0


class _Pace:
    """How long passes take: what another token in a pass costs, in units of one for one token."""

    def __init__(self) -> None:
        self.extra = 0.1
        self._plain: float | None = None  # seconds

    def record(self, pieces: Sequence[Piece], seconds: float) -> None:
        """Note a pass."""
        tokens = len(pieces[0].ids)
        if len(pieces) > 1 or pieces[0].wanted != tokens:
            return
        if tokens == 1:
            self._plain = seconds if self._plain is None else _nearer(self._plain, seconds)
        elif self._plain is not None:
            extra = max(seconds / self._plain - 1, 0.01) / (tokens - 1)
            self.extra = _nearer(self.extra, extra)


def _nearer(average: float, value: float) -> float:
    """Return a moving average's next value; a single slow moment counts little."""
    return average + 0.2 * (min(value, 3 * average) - average)


def _common_length(ids: Sequence[int], others: Sequence[int]) -> int:
    pairs = zip(ids, others, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(ids), len(others)))


def _check_finite(logits: Logits) -> None:
    if not all(map(math.isfinite, logits.log_normalizers)):
        raise NotFiniteError(
            "the model's logits must be finite to draw from, got others: its weights have "
            "diverged; take those of an earlier checkpoint"
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch use one thread: others of its would spin for a while, where the next pass runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
