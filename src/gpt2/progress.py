"""Progress of long work on stderr: a bar on a terminal, and plain lines elsewhere.

A stderr that is closed, full, or read by nobody any more never ends the work.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol, TextIO, cast

if TYPE_CHECKING:
    from rich.progress import Progress

SECONDS_BETWEEN_LINES = 10.0


class Display(Protocol):
    """Shows how far some work has come."""

    def update(self, done: float, text: str, seconds: float) -> None:
        """Show that `done` of the total has been done in so many seconds; `text` has more."""

    def log(self, line: str) -> None:
        """Print a line that stays."""


def log(line: str) -> None:
    """Print a line on stderr, which is lost where stderr cannot be written."""
    Stderr().write(line + "\n")


@contextmanager
def display(
    total: float, label: Callable[[float], str], *, done: float = 0.0, seconds: float = 0.0
) -> Iterator[Display]:
    """Show the progress of some work on stderr while the context lasts.

    Args:
        total: What there is to do, in any unit.
        label: How to write that so much is done, such as "3/10".
        done: What an earlier start has done.
        seconds: What that took.
    """
    if not Stderr().isatty():
        yield _Lines(total, label, done, seconds)
        return
    with _rich_bar() as bar:
        yield _Bar(bar, total, label, done)


def _rich_bar() -> "Progress":
    from rich.console import Console  # only a terminal needs it, and --help is in a hurry
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.fields[label]}", markup=False),
        BarColumn(bar_width=None),  # what the text leaves of the line
        TextColumn("{task.description}", markup=False),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=Console(file=cast(TextIO, Stderr()), force_terminal=True),
        expand=True,
    )


class _Bar:
    def __init__(
        self, bar: "Progress", total: float, label: Callable[[float], str], done: float
    ) -> None:
        self._bar = bar
        self._label = label
        self._task = bar.add_task("", total=total, label=label(done))
        bar.update(self._task, completed=done)

    def update(self, done: float, text: str, seconds: float) -> None:
        self._bar.update(self._task, completed=done, description=text, label=self._label(done))

    def log(self, line: str) -> None:
        self._bar.print(line, markup=False, highlight=False)


class _Lines:
    """A line for the first update, for the last, and every SECONDS_BETWEEN_LINES."""

    def __init__(
        self, total: float, label: Callable[[float], str], done: float, seconds: float
    ) -> None:
        self._total = total
        self._label = label
        self._before = done, seconds  # where the pace is counted from
        self._shown: tuple[float, float] | None = None  # the line before: done, seconds

    def update(self, done: float, text: str, seconds: float) -> None:
        before, seconds_before = self._before
        if done <= before:
            return  # no pace is known yet
        last_done, last_seconds = self._shown or (before, -SECONDS_BETWEEN_LINES)
        due = seconds - last_seconds >= SECONDS_BETWEEN_LINES
        if self._shown is None or due or last_done < self._total <= done:
            left = (self._total - done) * (seconds - seconds_before) / (done - before)
            log(f"{self._label(done)}  {text}  {left:,.0f} s left")
            if self._shown is None:  # it may have compiled something, which the pace leaves out
                self._before = done, seconds
            self._shown = done, seconds

    def log(self, line: str) -> None:
        log(line)


class Stderr:
    """A stream without its failures: what cannot be written is lost."""

    def __init__(self) -> None:
        self._stream = sys.stderr  # None where the process was started without
        self.encoding = getattr(self._stream, "encoding", None) or "utf-8"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if self._stream is not None:
            with suppress(OSError, ValueError):  # broken or full; closed
                self._stream.write(text)
                self._stream.flush()
        return len(text)

    def flush(self) -> None:
        """Do nothing: each write flushes."""

    def isatty(self) -> bool:
        with suppress(ValueError):  # closed
            return self._stream is not None and self._stream.isatty()
        return False
