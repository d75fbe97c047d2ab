"""One text that the engine continues: what the model reads of it next, and what came of it."""

from collections.abc import Sequence
from numbers import Integral
from typing import Any, Literal

from gpt2.config import GenerationConfig
from gpt2.errors import InputError
from gpt2.files.pretrained import GPT2
from gpt2.generation.drafting import Lookup, Thrift
from gpt2.generation.log_probabilities import Token, report
from gpt2.generation.runner import Logits, Piece, TextCache
from gpt2.generation.sampling import Sampler
from gpt2.generation.text import TextStream

FinishReason = Literal["length", "end_of_text", "stop", "cancelled"]


def checked_ids(model: GPT2, ids: Sequence[Any]) -> list[int]:
    """Return the tokens of a prompt.

    Raises:
        InputError: There is none, or one is no id of the model.
    """
    known = range(model.config.vocab_size)
    for i in ids:
        if not isinstance(i, Integral) or isinstance(i, bool) or i not in known:
            raise InputError(
                f"token ids must be whole numbers from 0 to {known[-1]}, got {i!r:.40}"
            )
    if not len(ids):
        raise InputError("a prompt must have at least one token, got none")
    return [int(i) for i in ids]


class Continuation:
    """A text that is being written.

    The model reads the latest n_positions tokens. When there are more, the text goes on from its
    latest three quarters of n_positions, which are read again: see `restarts`.

    Attributes:
        prompt_ids: The tokens that it continues.
        prompt_tokens: If the prompt is scored: all its tokens except the first, as far as read.
        prompt_is_read: Whether the whole prompt has been read, and scored if it is to be.
        tokens: The new ones, without one that ended the text.
        end_token: The stop or end id that ended the text and is no part of it; None if none did.
        pieces: Their text in whole characters, and the number of the token that completed each; up
            to where a stop string may begin.
        finish_reason: None while the text is being written.
        restarts: How often its beginning had to be forgotten.
        cancelled: Set it to end the text.
    """

    def __init__(
        self,
        model: GPT2,
        prompt_ids: list[int],
        config: GenerationConfig,
        sample: int,
        score_prompt: bool = False,
    ) -> None:
        self.prompt_ids = prompt_ids
        self.config = config
        self.score_prompt = score_prompt
        self.prompt_tokens: list[Token] = []
        self.prompt_is_read = False
        self.tokens: list[Token] = []
        self.end_token: Token | None = None
        self.pieces: list[tuple[str, int]] = []
        self.finish_reason: FinishReason | None = None
        self.restarts = 0
        self.cancelled = False
        self.cache: TextCache | None = None
        self.context = list(prompt_ids)  # what the model reads, or has read
        vocab_size = model.config.vocab_size
        if unknown := [i for i in config.stop_ids if i >= vocab_size]:
            raise InputError(f"stop_ids must be 0 to {vocab_size - 1}, got {unknown[0]}")
        self._sampler = Sampler(config, prompt_ids, sample=sample, vocab_size=vocab_size)
        self._stream = TextStream(model.tokenizer, config.stop) if model.tokenizer else None
        self._stop_ids = frozenset(config.stop_ids)
        self._end_ids = frozenset() if config.ignore_end else model.end_ids
        self._n_positions = model.config.n_positions
        self._lookup = Lookup(prompt_ids) if config.draft else None
        self._thrift = Thrift()
        self._guesses: list[int] = []
        self._forget_beginning()

    @property
    def ids(self) -> list[int]:
        """The new tokens."""
        return [token.id for token in self.tokens]

    @property
    def text(self) -> str:
        """The new text, as far as `pieces` has it."""
        return "".join(piece for piece, _ in self.pieces)

    @property
    def capacity(self) -> int:
        """Tokens that its cache must hold."""
        return min(len(self.prompt_ids) + self.config.max_new_tokens, self._n_positions)

    @property
    def cached(self) -> int:
        """Tokens of the context that are cached."""
        return self.cache.length if self.cache else 0

    @property
    def _is_scoring(self) -> bool:
        return self.score_prompt and len(self.prompt_tokens) < len(self.prompt_ids) - 1

    def unread(self) -> int:
        """Return how many tokens of the context are not cached."""
        return len(self.context) - self.cached

    def next_piece(self, most: int, extra: float | None) -> Piece:
        """Return what the model is to read next: one token, a part of the prompt, or guesses.

        Args:
            most: Tokens to read at the most, at least 1.
            extra: What a guess costs, see `Thrift.most`; None if nothing is to be guessed.
        """
        assert self.cache is not None
        self._forget_beginning()
        # The last is always read: its logits are wanted, also where an error ended the step before.
        first_wanted = len(self.prompt_tokens) if self._is_scoring else len(self.context) - 1
        self.cache.length = min(self.cache.length, first_wanted)
        unread = self.context[self.cache.length :]
        self._guesses = []
        if self._is_scoring:
            read = unread[:most]
            return Piece(self.cache, read, wanted=len(read))
        if len(unread) > most:
            return Piece(self.cache, unread[:most], wanted=0)
        if len(unread) > 1 or extra is None or self._lookup is None:
            return Piece(self.cache, unread)
        self._guesses = self._lookup.guess(min(self._most_guesses(extra), most - 1))
        return Piece(self.cache, unread + self._guesses, wanted=1 + len(self._guesses))

    def draw(self, logits: Logits, row: int, extra: float | None) -> None:
        """Draw what the logits allow: one token, and one more for each guess that was right.

        While the prompt is being scored, score what was read of it, and draw after its end.

        Args:
            logits: Those of a pass.
            row: The first of those that the piece wanted.
            extra: As for `next_piece`.
        """
        assert self.cache is not None
        if self._is_scoring:
            row = self._score(logits, row)
            if self._is_scoring or self.cache.length < len(self.prompt_ids):
                return
        self.prompt_is_read = True
        if not self.config.max_new_tokens:
            self.finish("length")
            return
        before = len(self.tokens)
        for number, guess in enumerate([*self._guesses, None]):
            token = self._draw_one(logits, row + number)
            if self.finish_reason or token != guess:
                break
        drawn = len(self.tokens) - before
        self.cache.length = min(self.cache.length, len(self.context) - 1)
        if extra is not None:
            self._thrift.record(len(self._guesses), max(drawn - 1, 0), extra)

    def finish(self, reason: FinishReason) -> None:
        """End the text."""
        if self._stream:
            self.pieces += self._stream.finish()
            reason = "stop" if self._stream.stopped else reason
        self.finish_reason = reason  # the last of all: other threads may wait for it

    def _score(self, logits: Logits, row: int) -> int:
        """Score what was read of the prompt; return the row of the logits after all of it."""
        assert self.cache is not None
        first = len(self.prompt_tokens) + 1  # the logits of `row` are those before this token
        ids = self.prompt_ids[first : self.cache.length + 1]
        self.prompt_tokens += report(logits, row, ids, self.config.top_log_probabilities)
        return row + len(ids)

    def _draw_one(self, logits: Logits, row: int) -> int:
        if self._sampler.takes_argmax:
            token = logits.likeliest[row]
        else:
            token = self._sampler.next(logits.values[row].cpu())
        [reported] = report(logits, row, [token], self.config.top_log_probabilities)
        if token in self._stop_ids or token in self._end_ids:
            self.end_token = reported
            self.finish("stop" if token in self._stop_ids else "end_of_text")
        else:
            self._append(reported)
        return token

    def _append(self, token: Token) -> None:
        self.tokens.append(token)
        self.context.append(token.id)
        if self._lookup:
            self._lookup.add([token.id])
        if self._stream:
            self.pieces += self._stream.add(token.id)
            if self._stream.stopped:
                self.finish("stop")
                return
        if len(self.tokens) == self.config.max_new_tokens:
            self.finish("length")

    def _most_guesses(self, extra: float) -> int:
        left = self.config.max_new_tokens - len(self.tokens) - 1
        return max(min(self._thrift.most(extra), left, self._n_positions - len(self.context)), 0)

    def _forget_beginning(self) -> None:
        if len(self.context) <= self._n_positions:
            return
        self.context = self.context[-kept_tokens(self._n_positions) :]
        self.restarts += 1
        if self.cache:
            self.cache.length = 0


def kept_tokens(n_positions: int) -> int:
    """Return from how many of its latest tokens a text goes on that has filled n_positions."""
    return max(n_positions - max(n_positions // 4, 1), 1)
