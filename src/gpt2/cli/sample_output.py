"""Samples to stdout, in the order in which they were asked for, while the engine writes them."""

import json
import math
import sys
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from gpt2.cli.prompts import Prompt
from gpt2.cli.streams import printable
from gpt2.cli.token_colors import colored
from gpt2.files.pretrained import GPT2
from gpt2.generation.continuation import Continuation, kept_tokens
from gpt2.generation.engine import MOST_TEXTS, Engine
from gpt2.generation.generate import as_sample
from gpt2.progress import log

MOST_UNPRINTED = 4 * MOST_TEXTS  # finished texts wait for those before them


@dataclass
class Writing:
    """A sample that is being written, and when what happened to it, by time.perf_counter."""

    prompt: Prompt
    text: Continuation
    started: float = field(default_factory=time.perf_counter)
    first: float | None = None  # when the first token came
    ended: float | None = None

    def note(self) -> None:
        """Note what the last step has brought."""
        now = time.perf_counter()
        if self.first is None and (self.text.tokens or self.text.finish_reason):
            self.first = now
        if self.ended is None and self.text.finish_reason:
            self.ended = now


class Output(Protocol):
    """Where samples go, one after the other."""

    def update(self, writing: Writing) -> None:
        """Take what is new of a sample, each time that it may have grown."""

    def end(self, writing: Writing) -> None:
        """Take note that the sample is finished."""


def write_in_order(
    engine: Engine, samples: Iterable[tuple[Prompt, Continuation]], output: Output
) -> None:
    """Run an engine until all samples are written.

    Args:
        engine: That which the samples are submitted to.
        samples: Each is submitted when it is taken from here; no more than fit are taken.
        output: Gets the samples in order, the first unfinished one while it grows.
    """
    left = iter(samples)
    shown: deque[Writing] = deque()
    while _take(left, shown):
        engine.step()
        for writing in shown:
            writing.note()
        while shown:
            output.update(shown[0])
            if not shown[0].text.finish_reason:
                break
            output.end(shown.popleft())


def _take(left: Iterable[tuple[Prompt, Continuation]], shown: deque[Writing]) -> bool:
    """Take as many samples as may run beside those that do; return whether there are any."""
    running = sum(not writing.ended for writing in shown)
    places = min(MOST_TEXTS - running, MOST_UNPRINTED - len(shown))
    for _, (prompt, text) in zip(range(places), left, strict=False):
        shown.append(Writing(prompt, text))
    return bool(shown)


class PieceWriter:
    """Writes a text to stdout, piece by piece, for a terminal without its control characters."""

    def __init__(self, *, color: bool) -> None:
        self._color = color
        self._shown = 0  # pieces of the present text

    def plain(self, text: str) -> None:
        """Write a text that no model has written."""
        sys.stdout.write(_visible(text))
        sys.stdout.flush()

    def update(self, text: Continuation) -> None:
        """Write the pieces that are new."""
        if len(text.pieces) == self._shown:
            return
        for piece, number in text.pieces[self._shown :]:
            visible = _visible(piece)
            probability = math.exp(text.tokens[number].log_probability)
            sys.stdout.write(colored(visible, probability) if self._color else visible)
        sys.stdout.flush()
        self._shown = len(text.pieces)

    def end(self) -> None:
        """End the text, and its line."""
        print(flush=True)
        self._shown = 0


def _visible(text: str) -> str:
    return printable(text) if sys.stdout.isatty() else text


class TextOutput:
    """Prints prompts and texts.

    Args:
        separated: Print a line of dashes after each sample.
        color: Show the tokens' probabilities.
    """

    def __init__(self, model: GPT2, *, separated: bool, color: bool) -> None:
        self._model = model
        self._separated = separated
        self._writer = PieceWriter(color=color)
        self._begun: Writing | None = None

    def update(self, writing: Writing) -> None:
        """Print what is new."""
        if self._begun is not writing:
            self._begun = writing
            self._writer.plain(self._text_of(writing.prompt))
        self._writer.update(writing.text)

    def end(self, writing: Writing) -> None:
        """End the sample's last line."""
        self._writer.end()
        if self._separated:
            print("---", flush=True)

    def _text_of(self, prompt: Prompt) -> str:
        if isinstance(prompt.content, str):
            return prompt.content
        return self._model.require_tokenizer().decode(prompt.content)


class JsonOutput:
    """Prints a JSON object a sample."""

    def update(self, writing: Writing) -> None:
        """Do nothing: a sample is printed when it is finished."""

    def end(self, writing: Writing) -> None:
        """Print the sample."""
        assert writing.ended is not None
        sample = as_sample(writing.text)
        seconds = writing.ended - writing.started
        entries = writing.prompt.entries | {
            "prompt": writing.prompt.content,
            "ids": sample.ids,
            "text": sample.text,
            "finish_reason": sample.finish_reason,
            "log_probabilities": sample.log_probabilities,
            "seconds": seconds,
            "tokens_per_second": len(sample.ids) / seconds,
            "restarts": writing.text.restarts,
        }
        if writing.text.config.top_log_probabilities:
            entries["likeliest"] = sample.likeliest
        print(json.dumps(entries), flush=True)


class Counted:
    """Hands samples on to another output, and counts them."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._started = time.perf_counter()
        self._first: float | None = None
        self._texts = self._tokens = 0
        self.restarts = 0

    def update(self, writing: Writing) -> None:
        """Hand it on."""
        self._first = self._first or writing.first
        self._output.update(writing)

    def end(self, writing: Writing) -> None:
        """Hand it on, and count it."""
        self._texts += 1
        self._tokens += len(writing.text.tokens)
        self.restarts += writing.text.restarts
        self._output.end(writing)

    def __str__(self) -> str:
        seconds = time.perf_counter() - self._started
        texts = f"{self._texts:,} texts, " if self._texts > 1 else ""
        first = (self._first or self._started) - self._started
        return (
            f"{texts}{self._tokens:,} tokens in {seconds:.2f} s, "
            f"{self._tokens / seconds:.1f} tokens/s, first after {first:.2f} s"
        )


def say_restarted(model: GPT2) -> None:
    """Say on stderr by which rule a text went on that the model cannot read at once."""
    n_positions = model.config.n_positions
    log(
        f"the text is longer than the model's {n_positions} tokens: it went on from its latest "
        f"{kept_tokens(n_positions)}"
    )
