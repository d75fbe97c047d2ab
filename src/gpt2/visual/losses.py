"""Which losses has a run had, and at which step, token and hour? From its rows of metrics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Over = Literal["steps", "tokens", "hours"]

MOST_POINTS = 2000  # of a line: beyond that, each is the mean of several steps
SMOOTHED = 50  # the smooth line is a mean over so small a part of the steps

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Losses:
    """The finite losses of a run, in nats a token, by step; N of training, M held out."""

    steps: np.ndarray  # (N,), of the last step of each mean
    loss: np.ndarray  # (N,)
    smooth: np.ndarray  # (N,), mean over the steps around
    val_steps: np.ndarray  # (M,)
    val_loss: np.ndarray  # (M,)
    progress: dict[str, np.ndarray]  # tokens and hours up to each of `all_steps`; NaN if not known
    all_steps: np.ndarray  # rising

    def at(self, steps: np.ndarray, over: Over) -> np.ndarray:
        """Return where steps are, by what the run is measured over; NaN where that is unknown."""
        if over == "steps" or not len(steps):
            return steps.astype(float)
        if not len(self.all_steps):
            return np.full(len(steps), np.nan)
        return np.interp(steps, self.all_steps, self.progress[over], left=np.nan, right=np.nan)


def losses_of(rows: Sequence[Row]) -> Losses:
    """Return the losses of a run.

    Args:
        rows: Those of metrics.jsonl; what is null or missing is left out.
    """
    taken = [row for row in rows if "loss" in row]
    finite = [row for row in taken if row["loss"] is not None]
    held_out = [row for row in rows if row.get("val_loss") is not None]
    loss = np.array([row["loss"] for row in finite], dtype=float)
    starts = np.arange(0, len(loss), -(-len(loss) // MOST_POINTS) or 1)  # of each mean
    ends = np.append(starts[1:], len(loss))[: len(starts)]
    return Losses(
        steps=np.array([finite[end - 1]["step"] for end in ends], dtype=int),
        loss=np.add.reduceat(loss, starts) / (ends - starts) if len(loss) else loss,
        smooth=smoothed(loss)[(starts + ends) // 2],
        val_steps=np.array([row["step"] for row in held_out], dtype=int),
        val_loss=np.array([row["val_loss"] for row in held_out], dtype=float),
        progress={
            "tokens": np.array([_number(row, "tokens") for row in taken]),
            "hours": np.array([_number(row, "training_seconds") / 3600 for row in taken]),
        },
        all_steps=np.array([row["step"] for row in taken], dtype=int),
    )


def smoothed(values: np.ndarray) -> np.ndarray:  # (N,) -> (N,)
    """Return the mean of the values around each: as many before it as after it, up to the end.

    So the first stays what it is, where a loss falls fast.

    >>> smoothed(np.array([3.0, 1.0])).tolist()
    [3.0, 1.0]
    >>> smoothed(np.arange(150.0))[[0, 1, 75, 149]].tolist()
    [0.0, 1.0, 75.0, 148.5]
    """
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    half = np.minimum(len(values) // SMOOTHED // 2, places)
    first, last = places - half, np.minimum(places + half + 1, len(values))
    means: np.ndarray = (sums[last] - sums[first]) / (last - first)
    return means


def _number(row: Row, name: str) -> float:
    value = row.get(name)
    return float("nan") if value is None else float(value)
