"""What asks a run to stop: Ctrl-C, SIGTERM or the end of its hours; heeded after the step."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from gpt2.errors import Gpt2Error

SIGNALS = (signal.SIGINT, signal.SIGTERM)
TIME_IS_UP = 1  # beside the numbers of the signals
SHOW_CURSOR = "\x1b[?25h"


class InterruptedRunError(Gpt2Error):
    """A run was asked to stop, and saved a checkpoint.

    Args:
        message: What was saved, and how to go on.
        reason: What `Interruption.reason` said.
    """

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
        if sys.stderr.isatty():  # which a bar has hidden, and a process that ends at once leaves so
            sys.stderr.write(SHOW_CURSOR)
        print("saving after this step; once more ends the run at once", file=sys.stderr)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
