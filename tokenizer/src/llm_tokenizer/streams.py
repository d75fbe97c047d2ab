"""stdout and stderr where they are closed, or where a disk or a pipe takes no more."""

import os
import sys
from typing import TextIO


def to_stderr(line: str) -> None:
    """Print a line to stderr if stderr takes it; if not, there is nowhere left to report that."""
    if sys.stderr is None:  # closed
        return
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)


def flush_stdout() -> None:
    """Write out what is in stdout's buffer.

    Raises:
        OSError: stdout does not take it.
    """
    try:
        sys.stdout.flush()
    except OSError:
        _discard(sys.stdout)
        raise


def _discard(stream: TextIO) -> None:
    """Lose what a stream still holds: Python would try again at its end, and exit with 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
