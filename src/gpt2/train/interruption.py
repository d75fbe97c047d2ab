"""Ctrl-C and SIGTERM during training: noted at once, acted on after the step."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from gpt2.errors import Gpt2Error

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptedRunError(Gpt2Error):
    """A run was asked to stop, and saved a checkpoint.

    Args:
        message: What was saved, and how to go on.
        signal_number: The signal that asked.
    """

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


class Interruption:
    """Which signal has asked the run to stop; None so far."""

    signal_number: int | None = None


@contextmanager
def noted_interruption() -> Iterator[Interruption]:
    """Note the first signal while the context lasts; a second one acts as it would elsewhere."""
    interruption = Interruption()

    def note(number: int, _frame: FrameType | None) -> None:
        interruption.signal_number = number
        for other in SIGNALS:
            signal.signal(other, before[other])

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
