"""What does a window of a weight matrix look like, as an image?

Dimension key: C channels, H heads, D channels a head (C = H * D).
"""

from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpt2.errors import InputError
from gpt2.model.gpt import GPT2Network
from gpt2.visual.cells import binned, cell_shape
from gpt2.visual.named_tensors import full_name, read_tensor, tensor_shapes
from gpt2.visual.pictures.distribution import (
    Histogram,
    draw_singular_values,
    histogram,
    singular_values,
    span,
)
from gpt2.visual.pictures.picture import Picture, Table, rounded
from gpt2.visual.pictures.weights_line import WeightsLine, weights_line
from gpt2.visual.style import SERIES, WEIGHTS, color_scale, integer_ticks
from gpt2.visual.window import Window, shown_shape, within

DEFAULT = "h.0.attn.c_attn.weight"
C_ATTN = ".attn.c_attn.weight"
PARTS = ("queries", "keys", "values")  # that the columns of c_attn make
INSIDE = 99.5  # percent of the weights that the grays tell apart; the others are black or white
# Inches: the image's longer side, and the least of its shorter, where cells are not square.
IMAGE, THINNEST = 5.0, 0.8
BESIDE, ABOVE, PLOT = 1.9, 1.1, 4.0  # inches: of the scale, of the titles, of another plot
NOT_FINITE = SERIES[1]
THINNEST_PART = 0.09  # of the image's width, in which the name of a part has room
SIDES = {  # what rows and columns are; of all other matrices inputs and outputs
    "wte.weight": ("token id", "channel"),
    "wpe.weight": ("position", "channel"),
    "lm_head.weight": ("token id", "channel"),
}
TABLE_SIDE = 12  # rows and columns of the table


def weights_window(
    model: GPT2Network,
    tensor: str = DEFAULT,
    *,
    head: int | None = None,
    rows: Window | None = None,
    columns: Window | None = None,
    with_histogram: bool = False,
    with_singular_values: bool = False,
) -> "WeightsImage | WeightsLine":
    """Read a window of a tensor.

    Args:
        model: Any GPT-2, quantized or not.
        tensor: Its name in the released files; matrices of blocks are inputs x outputs, as there.
        head: Of a c_attn: take the columns of this head alone, its queries, keys and values.
        rows: The first 300 if not given.
        columns: The first 300 if not given; of a head all.
        with_histogram: Count all weights of the tensor, or of the head, by their values.
        with_singular_values: Compute those of the whole matrix, or of the whole head's.
    Raises:
        InputError: There is no such tensor, head or window, or what is asked for needs a matrix
            and the tensor is a vector.
    """
    name = full_name(model, tensor)
    if head is not None:
        _check_head(name, head, model)
    if len(tensor_shapes(model)[name]) == 1:
        if columns is not None or with_singular_values:
            raise InputError(
                f"columns and singular values need a matrix, got {name}, a vector; leave them out"
            )
        return weights_line(read_tensor(model, name), name, rows, with_histogram=with_histogram)
    matrix, drawn = read_tensor(model, name), name
    if head is not None:
        matrix, drawn = _of_head(matrix, head, model.config.n_head), f"head {head} of {name}"
        columns = columns or (None, None)
    shown_rows = within(rows, "rows", drawn, matrix.shape, axis=0)
    shown_columns = within(columns, "columns", drawn, matrix.shape, axis=1)
    window = matrix[slice(*shown_rows), slice(*shown_columns)]
    cell = cell_shape(window.shape)
    return WeightsImage(
        tensor=name,
        head=head,
        shape=matrix.shape,
        rows=shown_rows,
        columns=shown_columns,
        cell=cell,
        values=binned(window, cell),
        histogram=histogram(matrix) if with_histogram else None,
        singular_values=singular_values(matrix) if with_singular_values else None,
    )


def _check_head(name: str, head: int, model: GPT2Network) -> None:
    if not name.endswith(C_ATTN):
        raise InputError(
            f"a head is part of attn.c_attn.weight, whose columns make queries, keys and values, "
            f"got {name}; leave the head out, and give a window"
        )
    if not 0 <= head < model.config.n_head:
        raise InputError(f"head must be 0 to {model.config.n_head - 1} in this model, got {head}")


def _of_head(matrix: np.ndarray, head: int, n_head: int) -> np.ndarray:  # (C, 3 C) -> (C, 3 D)
    """Return the columns of c_attn that make the queries, keys and values of a head."""
    channels = len(matrix)
    return matrix.reshape(channels, 3, n_head, -1)[:, :, head].reshape(channels, -1)


@dataclass(frozen=True)
class WeightsImage(Picture):
    """A window of a matrix, in cells, and what the whole matrix is like."""

    name = "weights"
    title = "Weights"
    seen = (
        "A weight matrix as an image: each row is an input, or a token or position of an "
        "embedding, each column an output or channel. Lighter is higher, middle gray is 0, and "
        "the few weights beyond the scale are black or white. Lines divide the queries, keys and "
        "values of c_attn."
    )
    look_for = (
        "Before training the image is even noise. Training may draw lines in it: a row that is "
        "brighter or darker is an input that many outputs read, a column an output that reads many "
        "inputs, a band of columns in c_attn a head. In wte, tokens that training never met form "
        "bands of their own."
    )
    code = (weights_window, binned)

    tensor: str
    head: int | None
    shape: tuple[int, int]  # of the whole matrix, or of the head's
    rows: tuple[int, int]  # drawn: the first, and the one after the last
    columns: tuple[int, int]
    cell: tuple[int, int]  # rows and columns that make one cell
    values: np.ndarray  # (cells, cells), the mean of each
    histogram: Histogram | None  # of the whole matrix
    singular_values: np.ndarray | None  # of the whole matrix, largest first

    @property
    def limit(self) -> float:
        """The weight from which on a cell is white, and black below its negative."""
        finite = np.abs(self.values[np.isfinite(self.values)])
        limit = float(np.percentile(finite, INSIDE)) if finite.size else 0.0
        return limit or 1.0

    @property
    def parts(self) -> list[tuple[str, int, int]]:
        """The names of the columns' parts in c_attn, with the start and the stop of each."""
        if not self.tensor.endswith(C_ATTN):
            return []
        size = self.shape[1] // len(PARTS)
        return [(part, i * size, (i + 1) * size) for i, part in enumerate(PARTS)]

    def draw(self) -> Figure:
        """Draw the image, and beside it what else there is."""
        width, height = self._size()
        beside = [each for each in (self.histogram, self.singular_values) if each is not None]
        if not beside:
            figure = Figure(figsize=(width + BESIDE, height + ABOVE))
            self._draw_image(figure.add_subplot())
            return figure
        figure = Figure(
            figsize=(width + BESIDE + PLOT, max(height, PLOT * len(beside) / 2) + ABOVE)
        )
        left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(width + BESIDE, PLOT))[0]
        self._draw_image(left.add_subplot())
        plots = right.subplots(len(beside), squeeze=False).flat
        for each, axes in zip(beside, plots, strict=True):
            if isinstance(each, Histogram):
                each.draw(axes)
            else:
                draw_singular_values(each, axes)
        return figure

    def _size(self) -> tuple[float, float]:
        """Return width and height of the image, in inches."""
        rows, columns = self.values.shape
        scale = IMAGE / max(rows, columns)
        return max(THINNEST, columns * scale), max(THINNEST, rows * scale)

    def _draw_image(self, axes: Axes) -> None:
        (top, bottom), (left, right) = self.rows, self.columns
        image = axes.imshow(
            self.values,
            cmap=mpl.colormaps[WEIGHTS].with_extremes(bad=NOT_FINITE),
            vmin=-self.limit,
            vmax=self.limit,
            extent=(left - 0.5, right - 0.5, bottom - 0.5, top - 0.5),
            aspect=self._aspect(),
        )
        row, column = SIDES.get(self.tensor, ("input channel", "output channel"))
        if self.head is not None:
            column = "column of the head"
        axes.set_xlabel(f"{column}, of {self.shape[1]:,}")
        axes.set_ylabel(f"{row}, of {self.shape[0]:,}")
        for axis in (axes.xaxis, axes.yaxis):
            integer_ticks(axis)
        named = self._draw_parts(axes)
        head = "" if self.head is None else f", head {self.head}"
        axes.set_title(f"{self.tensor}{head}", pad=24 if named else 10)
        averaged = "" if self.cell == (1, 1) else f", mean of {shown_shape(self.cell)}"
        color_scale(axes, image, f"weight{averaged}", width=self._size()[0])

    def _aspect(self) -> float:
        """Return the height of a weight over its width."""
        width, height = self._size()
        (top, bottom), (left, right) = self.rows, self.columns
        return (height / (bottom - top)) / (width / (right - left))

    def _draw_parts(self, axes: Axes) -> bool:
        """Write the names of the parts above the image, and return whether there are any."""
        start, stop = self.columns
        named = False
        for part, first, end in self.parts:
            low, high = max(first, start), min(end, stop)
            if start < first < stop:
                axes.axvline(first - 0.5, color=SERIES[5], linewidth=1.2)
            if high - low > THINNEST_PART * (stop - start):
                middle = (low + high - 1) / 2
                above = axes.get_xaxis_transform()
                axes.text(middle, 1.01, part, transform=above, ha="center", va="bottom")
                named = True
        return named

    def to_json(self) -> dict[str, Any]:
        """Return all numbers, and those that follow from them."""
        return super().to_json() | {"limit": self.limit}

    def table(self) -> Table:
        """Return the first weights of the window, as they are drawn."""
        shown = self.values[:TABLE_SIDE, :TABLE_SIDE]
        step_down, step_right = self.cell
        rows, columns = shown.shape
        return Table(
            ["row", *(str(self.columns[0] + i * step_right) for i in range(columns))],
            [[str(self.rows[0] + i * step_down), *rounded(*shown[i])] for i in range(rows)],
        )

    def description(self) -> str:
        """Return what is drawn."""
        (top, bottom), (left, right) = self.rows, self.columns
        head = "" if self.head is None else f"Head {self.head} of "
        averaged = "" if self.cell == (1, 1) else f", in means of {shown_shape(self.cell)}"
        return (
            f"{head}{self.tensor}, {shown_shape(self.shape)}: rows {top} to {bottom - 1} and "
            f"columns {left} to {right - 1}{averaged}, {span(self.values)}."
        )
