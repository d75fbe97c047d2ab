"""What does metrics.jsonl say of a run so far?"""

from collections import deque
from collections.abc import Sequence
from pathlib import Path

from gpt2.serve.watch.points import Points
from gpt2.serve.watch.rows import parse_lines, strict
from gpt2.serve.watch.status import LATE_STEPS
from gpt2.serve.watch.tail import Tail
from gpt2.train.metrics import METRICS_FILE, Row


class Metrics:
    """The steps of a run in bounded memory, and all of its evaluations.

    Args:
        run: The run directory.
    """

    def __init__(self, run: Path) -> None:
        self._tail = Tail(run / METRICS_FILE)
        self._forget()

    def _forget(self) -> None:
        self.points = Points()
        self.late: deque[Row] = deque(maxlen=LATE_STEPS)  # the last steps
        self.held_out: list[Row] = []  # evaluations
        self.skipped: list[int] = []  # steps
        self.changes: list[Row] = []  # of settings
        self.just_started = False  # no step yet since the file was begun or cut
        self._damaged = 0  # lines

    def look(self) -> tuple[list[Row], bool]:
        """Take the new rows, and return the steps among them, and whether older ones are gone."""
        content, is_new = self._tail.look()
        if is_new:
            self._forget()
        rows, damaged = parse_lines(content)
        steps = [row for row in rows if "loss" in row]
        self.points.add(steps)
        self.late.extend(steps[-LATE_STEPS:])
        self.held_out += [strict(row) for row in rows if "val_loss" in row]
        self.skipped += [row["step"] for row in steps if row.get("skipped")]
        self.changes += [strict(row) for row in rows if "changed" in row]
        self._damaged += damaged
        if is_new or steps:
            self.just_started = is_new
        return steps, is_new

    def notes(self) -> list[str]:
        """Return what is wrong with the file."""
        lines = "a line is" if self._damaged == 1 else f"{self._damaged} lines are"
        damage = [f"{METRICS_FILE}: {lines} damaged and left out"] if self._damaged else []
        return self._tail.faults + damage


def best_step(held_out: Sequence[Row]) -> int | None:
    """Return the step of the lowest held-out loss, the first of equal ones; None before any."""
    finite = [row for row in held_out if row["val_loss"] is not None]
    return min(finite, key=lambda row: row["val_loss"])["step"] if finite else None
