"""Lines that a person types, with line editing and history, or that come from a pipe."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

MOST_LINES = 1000  # of the history


class LineInput:
    """Reads lines from stdin; from a terminal with a prompt sign and with GNU's line editing."""

    def __init__(self, readline: Any | None) -> None:
        self.is_terminal = _is_terminal()
        self._readline = readline  # None where there is no such module, and for pipes

    def read(self, sign: str) -> str:
        """Return the next line, without its end.

        Raises:
            EOFError: There is none.
            KeyboardInterrupt: Ctrl-C; see `interrupted_line`.
        """
        if self.is_terminal:
            return input(sign)
        if sys.stdin is not None and (line := sys.stdin.readline()):
            return line.removesuffix("\n")
        raise EOFError

    def interrupted_line(self) -> str:
        """Return what had been typed when Ctrl-C came, as far as that is known."""
        return self._readline.get_line_buffer() if self._readline else ""


@contextmanager
def line_input() -> Iterator[LineInput]:
    """Give the lines of stdin; the history is read from its file, and written there at the end."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        encoding = None if _is_terminal() else "utf-8"
        sys.stdin.reconfigure(encoding=encoding, errors="replace")
    readline = _readline() if _is_terminal() else None
    file = history_file()
    if readline is None or file is None:
        yield LineInput(readline)
        return
    with suppress(OSError):  # there is none yet, or it cannot be read
        readline.read_history_file(file)
    try:
        yield LineInput(readline)
    finally:
        with suppress(OSError):  # a history is not worth a failure
            file.parent.mkdir(parents=True, exist_ok=True)
            readline.set_history_length(MOST_LINES)
            readline.write_history_file(file)


def history_file() -> Path | None:
    """Return where the history is kept, None if the user has no home directory.

    Source: the XDG Base Directory Specification, $XDG_STATE_HOME.
    """
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    if not state.is_absolute():
        try:
            state = Path.home() / ".local" / "state"
        except RuntimeError:
            return None
    return state / "gpt2" / "history"


def _readline() -> Any | None:
    """Return the module through which `input` edits lines, None where there is none."""
    try:
        import readline
    except ImportError:  # as on Windows
        return None
    return readline


def _is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
