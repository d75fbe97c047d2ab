"""What do the weights of a vector look like, such as those of a bias or a norm? A line."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from gpt2.visual.pictures.distribution import Histogram, histogram, span
from gpt2.visual.pictures.picture import Picture, Table, rounded
from gpt2.visual.style import SERIES, integer_ticks
from gpt2.visual.thinning import evenly
from gpt2.visual.window import Window, within

FEW = 64  # weights up to which each is marked
TABLE_ROWS = 33


def weights_line(
    vector: np.ndarray, name: str, rows: Window | None = None, *, with_histogram: bool = False
) -> "WeightsLine":
    """Take a window of a vector.

    Args:
        vector: All weights.
        name: That of the tensor.
        rows: The first 300 if not given.
        with_histogram: Count all weights by their values.
    Raises:
        InputError: There is no such window.
    """
    start, stop = within(rows, "rows", name, vector.shape, axis=0)
    counted = histogram(vector) if with_histogram else None
    return WeightsLine(name, len(vector), (start, stop), vector[start:stop], counted)


@dataclass(frozen=True)
class WeightsLine(Picture):
    """A window of a vector."""

    name = "weights"
    title = "Weights"
    seen = "The weights of a vector, such as a bias or the gain of a norm: one for each channel."
    look_for = (
        "Before training biases are 0 and gains 1. Some channels move far from there: they are "
        "those that the model uses most, or shuts out."
    )
    code = (weights_line,)

    tensor: str
    size: int  # of the whole vector
    rows: tuple[int, int]  # drawn: the first, and the one after the last
    values: np.ndarray  # (rows,)
    histogram: Histogram | None  # of the whole vector

    def draw(self) -> Figure:
        """Draw the line, and the histogram beside it if there is one."""
        figure = Figure(figsize=(8, 4) if self.histogram is None else (12, 4))
        axes, *beside = figure.subplots(1, 1 if self.histogram is None else 2, squeeze=False)[0]
        marker = "o" if len(self.values) <= FEW else None
        axes.plot(
            np.arange(*self.rows), self.values, color=SERIES[0], marker=marker, markersize=3, lw=1
        )
        axes.grid(axis="y")
        integer_ticks(axes.xaxis)
        axes.set(title=self.tensor, xlabel=f"channel, of {self.size:,}", ylabel="weight")
        axes.margins(x=0.01)
        for other in beside:
            assert self.histogram is not None
            self.histogram.draw(other)
        return figure

    def table(self) -> Table:
        """Return evenly spaced weights."""
        chosen = evenly(len(self.values), TABLE_ROWS)
        rows = [[self.rows[0] + i, *rounded(self.values[i])] for i in chosen]
        return Table(["channel", "weight"], rows)

    def description(self) -> str:
        """Return what is drawn."""
        start, stop = self.rows
        return (
            f"{self.tensor}, {self.size} weights: those from {start} to {stop - 1}, "
            f"{span(self.values)}."
        )
