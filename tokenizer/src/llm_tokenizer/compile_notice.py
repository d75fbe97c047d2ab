"""Why does nothing happen for some seconds? A line on the terminal, while Numba compiles."""

import sys
from functools import cache

from numba.core import event

from llm_tokenizer.streams import to_stderr

PACKAGE = f"{__package__}."
LINE = "llm-tokenizer: compiling for this processor, which takes some seconds the first time"


@cache
def announce_compiling() -> None:
    """From now on print `LINE`, once in a process, when this package is really compiled.

    Not when Numba loads what it kept on disk, and not where stderr is no terminal: there a program
    may read it.
    """
    event.register("numba:compile", _Notice())  # type: ignore[no-untyped-call]


class _Notice(event.Listener):
    def __init__(self) -> None:
        self._is_printed = False

    def on_start(self, event: event.Event) -> None:
        module = event.data["dispatcher"].py_func.__module__ or ""  # none in code without a file
        if self._is_printed or not module.startswith(PACKAGE) or sys.stderr is None:
            return
        if sys.stderr.isatty():
            self._is_printed = True
            to_stderr(LINE)

    def on_end(self, event: event.Event) -> None:
        pass  # the result says that it is over
