"""The streams of a command, which may be closed, full, or read by nobody any more."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast

from gpt2.errors import Gpt2Error
from gpt2.progress import Stderr


class OutputError(Gpt2Error):
    """stdout cannot be written."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot write to stdout: {error.strerror}")
        self.is_silent = isinstance(error, BrokenPipeError)  # the reader, such as head, has gone


@contextmanager
def safe_streams() -> Iterator[None]:
    """Run a command with a stderr that never fails, and a stdout whose failures are OutputErrors.

    Nothing is left in them that could fail when Python flushes them as it exits.
    """
    _open_closed_descriptors()
    stdout, stderr = sys.stdout, sys.stderr
    if isinstance(stdout, io.TextIOWrapper):
        stdout.reconfigure(errors="replace")  # a character that the console lacks: a question mark
    try:
        with (
            redirect_stdout(cast(TextIO, _Stdout(stdout))),
            redirect_stderr(cast(TextIO, Stderr())),
        ):
            yield
    finally:
        _drop_unwritable(stdout)
        _drop_unwritable(stderr)


def printable(text: str) -> str:
    r"""Return a text as a terminal can show it: its control characters are written out.

    >>> printable("a\tb\x1b[2J\n")
    'a\tb\\x1b[2J\n'
    """
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )


def is_rank_0() -> bool:
    """Return whether this process prints what all ranks of a run have in common."""
    return os.environ.get("RANK", "0") == "0"


def is_first_on_host() -> bool:
    """Return whether this process prints the failures that all ranks of a run have in common."""
    return os.environ.get("LOCAL_RANK", os.environ.get("RANK", "0")) == "0"


def _open_closed_descriptors() -> None:
    """Open the null device for each of stdin, stdout and stderr that is closed.

    The next files would take their descriptors, and what C code prints would end up in them.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)


class _Stdout:
    """A stream whose failures are OutputErrors, which no other file's failure is taken for."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream  # None where the process was started without

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        if self._stream is None:
            raise OutputError(OSError(errno.EBADF, "it is closed"))
        try:
            return self._stream.write(text)
        except OSError as error:
            raise OutputError(error) from None

    def flush(self) -> None:
        try:
            if self._stream is not None:
                self._stream.flush()
        except OSError as error:
            raise OutputError(error) from None


def _drop_unwritable(stream: TextIO | None) -> None:
    """Send what cannot be written to the null device: Python flushes each stream as it exits."""
    if stream is None:
        return
    try:
        stream.flush()
    except ValueError:  # closed, so flushed
        return
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
