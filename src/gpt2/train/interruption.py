"""Why a run stops before its last step: a signal, the end of its hours, divergence.

The signals are Ctrl-C (SIGINT), SIGTERM, and SIGHUP, which a terminal sends when it closes.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from gpt2.errors import Gpt2Error

ASKED = (signal.SIGINT, signal.SIGTERM)
HANGUP = getattr(signal, "SIGHUP", None)  # None on Windows
TIME_IS_UP, DIVERGED = 1000, 1001  # reasons to stop, beside the numbers of the signals
SHOW_CURSOR = b"\x1b[?25h"
NOTED = b"saving after this step; another Ctrl-C ends the run at once\n"


class DivergedRunError(Gpt2Error):
    """Too many steps in a row had a loss or a gradient that is not finite; the run is saved."""

    raised_on_every_rank = True


class InterruptedRunError(Gpt2Error):
    """A run was asked to stop, and saved a checkpoint.

    Args:
        message: What was saved, and how to resume.
        reason: The value of `Interruption.reason`.
    """

    raised_on_every_rank = True

    def __init__(self, message: str, reason: int) -> None:
        super().__init__(message)
        self.exit_code = 0 if reason == TIME_IS_UP else 128 + reason


class Interruption:
    """Whether something has asked the run to stop.

    Args:
        max_hours: Hours after which it is asked to; never if None.
    """

    def __init__(self, max_hours: float | None) -> None:
        self.signal_number = 0
        self._end = time.monotonic() + max_hours * 3600 if max_hours else None

    @property
    def reason(self) -> int:
        """The number of the signal, or TIME_IS_UP; 0 if nothing has."""
        time_is_up = self._end is not None and time.monotonic() >= self._end
        return self.signal_number or (TIME_IS_UP if time_is_up else 0)


@contextmanager
def noted_interruption(max_hours: float | None = None) -> Iterator[Interruption]:
    """Note the signals that ask a run to stop, while the context lasts.

    A SIGINT after the first signal ends the process at once. SIGTERM and SIGHUP never do, since one
    request may send them twice: Slurm and systemd signal every process of a job, and torchrun hands
    on what it gets. Where SIGHUP is ignored, as under nohup, it stays so. Python lets the main
    thread alone handle signals: in another one, only the hours are noted.
    """
    interruption = Interruption(max_hours)

    def note(number: int, _frame: FrameType | None) -> None:
        if number != HANGUP:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if interruption.signal_number in (number, *ASKED):
            return
        interruption.signal_number = number
        _write_note()

    noted = [*ASKED]
    if threading.current_thread() is not threading.main_thread():
        noted = []
    elif HANGUP is not None and signal.getsignal(HANGUP) != signal.SIG_IGN:
        noted.append(HANGUP)
    before = {number: signal.getsignal(number) for number in noted}
    for number in noted:
        signal.signal(number, note)
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write_note() -> None:
    """Write to stderr past its buffer, since a handler may come amid a print.

    A bar has hidden the cursor, and a process that ends at once would leave it so.
    """
    if sys.stderr is not None:  # else its number may have become that of another file
        with suppress(OSError, ValueError):  # broken or full; closed
            number = sys.stderr.fileno()
            os.write(number, (SHOW_CURSOR if os.isatty(number) else b"") + NOTED)
