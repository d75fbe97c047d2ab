"""Why a run stops before its last step: Ctrl-C, SIGTERM, the end of its hours, divergence."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from gpt2.errors import Gpt2Error

SIGNALS = (signal.SIGINT, signal.SIGTERM)
TIME_IS_UP, DIVERGED = 1000, 1001  # reasons to stop, beside the numbers of the signals
SHOW_CURSOR = b"\x1b[?25h"
STDERR = 2


class DivergedRunError(Gpt2Error):
    """Too many steps in a row had a loss or a gradient that is not finite; the run is saved."""

    said_by_all = True  # processes


class InterruptedRunError(Gpt2Error):
    """A run was asked to stop, and saved a checkpoint.

    Args:
        message: What was saved, and how to go on.
        reason: What `Interruption.reason` said.
    """

    said_by_all = True  # processes

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
    """Note the first signal while the context lasts; a second one ends the process at once."""
    interruption = Interruption(max_hours)

    def note(number: int, _frame: FrameType | None) -> None:
        interruption.signal_number = number
        for other in SIGNALS:
            signal.signal(other, signal.SIG_DFL)
        # A handler may come amid a print, so it writes by itself. A bar has hidden the cursor, and
        # a process that ends at once would leave it so.
        cursor = SHOW_CURSOR if os.isatty(STDERR) else b""
        os.write(STDERR, cursor + b"saving after this step; once more ends the run at once\n")

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
