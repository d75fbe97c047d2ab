"""How are many steps shown as few points? Each is the mean over a power of two of steps.

Dimension key: N points, F figures of MEANS, L of LATEST.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpt2.train.metrics import Row

MOST_POINTS = 2000
MEANS = ("loss", "learning_rate", "grad_norm", "tokens_per_second", "mfu")  # averaged
LATEST = ("tokens", "training_seconds")  # sums since step 1: that of the last step counts
NAMES = ("step", *MEANS, *LATEST)
DIGITS = 6  # significant ones


class Points:
    """The steps of a run, in at most MOST_POINTS points, in memory that does not grow."""

    def __init__(self) -> None:
        self.width = 1  # steps that a point is the mean over
        self._steps = np.zeros(0, dtype=np.int64)  # (N,), the last one of each point
        self._sums = np.zeros((0, len(MEANS)))  # (N, F)
        self._counts = np.zeros((0, len(MEANS)))  # (N, F), of finite figures
        self._latest = np.zeros((0, len(LATEST)))  # (N, L)

    def add(self, rows: Sequence[Row]) -> None:
        """Add steps, in order."""
        if not rows:
            return
        figures, latest = _figures(rows, MEANS), _figures(rows, LATEST)
        steps = np.array([row["step"] for row in rows], dtype=np.int64)
        self._steps = np.concatenate([self._steps, steps])
        self._sums = np.concatenate([self._sums, np.nan_to_num(figures)])
        self._counts = np.concatenate([self._counts, np.isfinite(figures)])
        self._latest = np.concatenate([self._latest, latest])
        self._join()
        while len(self._steps) > MOST_POINTS:
            self.width *= 2
            self._join()

    def _join(self) -> None:
        """Make one point of neighbours that lie in the same `width` steps."""
        keys = (self._steps - 1) // self.width
        starts = np.flatnonzero(np.diff(keys, prepend=keys[0] - 1))
        ends = np.append(starts[1:], len(keys)) - 1
        self._steps, self._latest = self._steps[ends], self._latest[ends]
        self._sums = np.add.reduceat(self._sums, starts)
        self._counts = np.add.reduceat(self._counts, starts)

    def to_rows(self) -> list[dict[str, Any]]:
        """Return the points as rows of metrics; a figure that is nowhere finite is None."""
        known = self._counts > 0
        means = np.where(known, self._sums / np.where(known, self._counts, 1), np.nan)
        columns = [self._steps.tolist(), *means.T.tolist(), *self._latest.T.tolist()]
        return [shown(dict(zip(NAMES, row, strict=True))) for row in zip(*columns, strict=True)]


def shown(row: Row) -> dict[str, Any]:
    """Return a step's row as the page has it: few digits, None for what is not finite.

    >>> shown({"step": 7, "loss": 2.00000049, "grad_norm": float("nan"), "tokens": 4096.0})
    {'step': 7, 'loss': 2.0, 'grad_norm': None, 'tokens': 4096}
    """
    figures = {name: rounded(row[name]) for name in NAMES if name in row}
    return figures | ({"skipped": True} if row.get("skipped") else {})


def rounded(value: float | None) -> float | None:
    """Return a number as JSON may have it: whole, or of few digits; None if it is not finite."""
    if value is None or not math.isfinite(value):
        return None
    return int(value) if value == int(value) else float(f"{value:.{DIGITS}g}")


def _figures(rows: Sequence[Row], names: Sequence[str]) -> np.ndarray:  # R rows -> (R, names)
    """Return figures of rows; NaN for one that is missing or None."""
    found = np.array([[row.get(name) for name in names] for row in rows], dtype=float)
    return np.where(np.isfinite(found), found, np.nan)
