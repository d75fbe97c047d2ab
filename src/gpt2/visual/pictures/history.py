"""How did one picture change while a run trained? Frames of it, on one scale.

Dimension key: M moments, T tokens, P positions, R rows, K columns.
"""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gpt2.errors import InputError
from gpt2.visual.losses import Row, losses_of, smoothed
from gpt2.visual.moments import Moment, comparable, observe
from gpt2.visual.named_tensors import FIRST_C_ATTN
from gpt2.visual.pictures.attention import PATTERNS, mean_weights, scale
from gpt2.visual.pictures.picture import Picture, Table, rounded
from gpt2.visual.pictures.weights import gray_limit
from gpt2.visual.style import (
    ATTENTION,
    DASHES,
    HELD_OUT,
    SERIES,
    TRAINING,
    WEIGHTS,
    integer_ticks,
    new_figure,
    styled,
)
from gpt2.visual.thinning import evenly
from gpt2.visual.token_texts import label

MOST_FRAMES = 8  # beside each other
ROW = 4  # frames in a row
LOSS_FRAMES = 24  # of an animation


class History(Picture):
    """A picture at several steps of a run. Subclasses draw one frame."""

    name = "history"
    title = "A run over its steps"
    is_image = False
    steps: list[int]

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of a small frame, in inches."""
        return 2.6, 2.1

    @property
    def large(self) -> tuple[float, float]:
        """Width and height of a frame alone, in inches."""
        return 6.5, 5.2

    @abstractmethod
    def draw_frame(self, axes: Axes, number: int, *, is_small: bool) -> None:
        """Draw one of the frames; limits and colors are those of all."""

    @abstractmethod
    def heading(self) -> str:
        """Return what all frames show."""

    def draw(self) -> Figure:
        """Draw some of the frames beside each other, the first and the last among them."""
        chosen = evenly(len(self.steps), MOST_FRAMES)
        columns = min(ROW, len(chosen))
        rows = math.ceil(len(chosen) / columns)
        width, height = self.size
        figure = Figure(figsize=(columns * width + 0.4, rows * height + 0.7))
        if self.is_image:
            figure.set_layout_engine("compressed")  # whose cells are square
        grid = list(figure.subplots(rows, columns, squeeze=False).flat)
        for place, (axes, number) in enumerate(zip(grid, chosen, strict=False)):
            self.draw_frame(axes, number, is_small=True)
            axes.set_title(f"step {self.steps[number]:,}", fontsize=9, fontweight="normal", pad=4)
            axes.tick_params(labelsize=7, labelbottom=place + columns >= len(chosen))
            axes.tick_params(labelleft=place % columns == 0)
        for axes in grid[len(chosen) :]:
            axes.remove()
        x, y = (axis.get_label_text() for axis in (grid[0].xaxis, grid[0].yaxis))
        for axes in grid[: len(chosen)]:
            axes.set(xlabel="", ylabel="")
        figure.supxlabel(x, fontsize=9)
        figure.supylabel(y, fontsize=9)
        figure.suptitle(self.heading(), x=0.01, ha="left", fontweight="bold")
        return figure

    def frame(self, number: int) -> Figure:
        """Draw one frame alone, as an animation shows it."""
        with styled():
            figure, axes = new_figure(*self.large)
            self.draw_frame(axes, number, is_small=False)
            axes.set_title(f"{self.heading()}: step {self.steps[number]:,}")
        return figure

    def description(self) -> str:
        """Return what is drawn."""
        count = len(self.steps)
        return f"{self.heading()} at {count} steps, from {self.steps[0]:,} to {self.steps[-1]:,}."


@dataclass(frozen=True)
class PositionsHistory(History):
    """Position embeddings of some channels, at each moment."""

    seen = (
        "Each frame has the position embeddings of the same channels at one step of the training; "
        "step 0 is before the first."
    )
    look_for = "Noise becomes waves, the longest first: near positions come to have like vectors."
    code = (observe,)

    steps: list[int]
    channels: list[int]
    values: np.ndarray  # (M, channels, P)

    def heading(self) -> str:
        """Return what all frames show."""
        return f"Position embeddings, channels {', '.join(map(str, self.channels))}"

    def draw_frame(self, axes: Axes, number: int, *, is_small: bool) -> None:
        """Draw a line a channel."""
        finite = self.values[np.isfinite(self.values)]
        limit = 1.05 * float(np.abs(finite).max(initial=0)) or 1.0
        for i, line in enumerate(self.values[number]):
            axes.plot(
                line, color=SERIES[i], linestyle=DASHES[i], linewidth=0.8 if is_small else 1.3
            )
        axes.set(xlabel="position, in tokens", ylabel="value", ylim=(-limit, limit), xmargin=0.01)
        axes.grid(axis="y")

    def table(self) -> Table:
        """Return how large the values of each channel are, as their standard deviation."""
        rows = [[step, *rounded(*self.values[i].std(axis=1))] for i, step in enumerate(self.steps)]
        names = [f"deviation of channel {channel}" for channel in self.channels]
        return Table(["step", *names], rows)


@dataclass(frozen=True)
class WeightsHistory(History):
    """The first rows and columns of the first self-attention's weights, at each moment."""

    seen = (
        "Each frame has the same weights at one step: lighter is higher, middle gray is 0. All "
        "frames have the scale of the last that is finite."
    )
    look_for = "Even noise first; then lines appear, of inputs and outputs that are used."
    code = (observe,)

    steps: list[int]
    values: np.ndarray  # (M, R, K)

    is_image = True

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of a small frame, in the proportions of the window."""
        _, rows, columns = self.values.shape
        return 2.4 * min(1.0, columns / rows), 2.4 * min(1.0, rows / columns) + 0.3

    @property
    def large(self) -> tuple[float, float]:
        """Width and height of a frame alone."""
        width, height = self.size
        return 2.4 * width + 0.8, 2.4 * (height - 0.3) + 1.2

    @property
    def limit(self) -> float:
        """The weight that is white in all frames, by the last one whose weights are finite."""
        finite = [each for each in self.values if np.isfinite(each).all()]
        return gray_limit(finite[-1]) if finite else 1.0

    def heading(self) -> str:
        """Return what all frames show."""
        return FIRST_C_ATTN

    def draw_frame(self, axes: Axes, number: int, *, is_small: bool) -> None:
        """Draw the weights as an image."""
        axes.imshow(self.values[number], cmap=WEIGHTS, vmin=-self.limit, vmax=self.limit)
        _, rows, columns = self.values.shape
        axes.set(xlabel=f"output channel, first {columns}", ylabel=f"input channel, first {rows}")

    def table(self) -> Table:
        """Return mean and standard deviation of the weights at each step."""
        rows = [
            [step, *rounded(each.mean(), each.std(), digits=5)]
            for step, each in zip(self.steps, self.values.astype(np.float64), strict=True)
        ]
        return Table(["step", "mean", "standard deviation"], rows)


@dataclass(frozen=True)
class AttentionHistory(History):
    """The attention of one head to a text, at each moment."""

    seen = (
        "Each frame is the attention of the same head to the same text at one step: a row a token "
        "that attends, a column a token attended to, lighter for more. What is later in the text "
        "is blank."
    )
    look_for = (
        "Before training, each token attends evenly to all before it. Then a pattern sets in, "
        "often suddenly: a diagonal, a line below it, or a bright first column."
    )
    code = (observe,)

    steps: list[int]
    block: int
    head: int
    tokens: list[str]
    values: np.ndarray  # (M, T, T); NaN above the diagonal

    is_image = True

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of a small frame."""
        return 2.2, 2.3

    @property
    def large(self) -> tuple[float, float]:
        """Width and height of a frame alone, where the tokens have room."""
        return 7.0, 6.6

    def heading(self) -> str:
        """Return what all frames show."""
        return f"Attention of block {self.block}, head {self.head}"

    def draw_frame(self, axes: Axes, number: int, *, is_small: bool) -> None:
        """Draw the attention map, with the tokens where there is room."""
        axes.imshow(self.values[number], cmap=ATTENTION, norm=scale())
        axes.set(xlabel="token attended to", ylabel="token that attends")
        if not is_small:
            texts = list(map(label, self.tokens))
            axes.set_xticks(range(len(texts)), texts, rotation=90)
            axes.set_yticks(range(len(texts)), texts)
        else:
            integer_ticks(axes.xaxis)
            integer_ticks(axes.yaxis)

    def table(self) -> Table:
        """Return how much goes to the token itself, to the one before and to the first."""
        means = mean_weights(torch.from_numpy(self.values))
        rows = [[s, *rounded(*m, digits=3)] for s, m in zip(self.steps, means, strict=True)]
        return Table(["step", *PATTERNS], rows)


@dataclass(frozen=True)
class LossHistory(History):
    """The losses of a run, up to each of some steps."""

    seen = "Each frame has the losses up to one step: the line of training, the dots held out."
    look_for = "Most of the fall is at the beginning; the frames are evenly spaced over the run."
    code = (losses_of, smoothed)

    steps: list[int]  # of the frames
    all_steps: np.ndarray  # (N,)
    loss: np.ndarray  # (N,), mean over the steps around
    val_steps: np.ndarray  # (V,)
    val_loss: np.ndarray  # (V,)

    def heading(self) -> str:
        """Return what all frames show."""
        return "Loss"

    def draw_frame(self, axes: Axes, number: int, *, is_small: bool) -> None:
        """Draw both losses as far as they are known at that step."""
        step = self.steps[number]
        done, seen = self.all_steps <= step, self.val_steps <= step
        width, size = (1.0, 2) if is_small else (1.6, 4)
        axes.plot(self.all_steps[done], self.loss[done], color=TRAINING, linewidth=width)
        held_out = self.val_steps[seen], self.val_loss[seen]
        axes.plot(*held_out, color=HELD_OUT, linewidth=width, marker="o", markersize=size)
        ys = np.concatenate([self.loss, self.val_loss])
        margin = 0.05 * float(np.ptp(ys)) or 0.5
        axes.set(xlabel="step", ylabel="loss, in nats a token")
        axes.set_xlim(0, 1.02 * self.steps[-1])
        axes.set_ylim(float(ys.min()) - margin, float(ys.max()) + margin)
        axes.grid(axis="y")

    def table(self) -> Table:
        """Return both losses at each of the steps."""
        rows: list[list[str | float | None]] = []
        for step in self.steps:
            done, seen = self.loss[self.all_steps <= step], self.val_loss[self.val_steps <= step]
            last = round(float(seen[-1]), 4) if len(seen) else None
            rows.append([step, round(float(done[-1]), 4), last])
        return Table(["step", "training loss, mean", "last held-out loss"], rows)


def positions_history(moments: Sequence[Moment]) -> PositionsHistory:
    """Return the position embeddings of a run's moments, of which there is at least one."""
    values = np.stack([moment.positions.numpy() for moment in moments])
    return PositionsHistory(_steps(moments), moments[-1].channels, values)


def weights_history(moments: Sequence[Moment]) -> WeightsHistory:
    """Return the weights of a run's moments, of which there is at least one."""
    return WeightsHistory(_steps(moments), np.stack([m.weights.float().numpy() for m in moments]))


def attention_history(
    moments: Sequence[Moment], block: int | None = None, head: int | None = None
) -> AttentionHistory:
    """Return the attention of one head in a run's moments, of which there is at least one.

    Args:
        moments: Of the run.
        block: 0-based; the first one if not given.
        head: 0-based; the first one if not given.
    Raises:
        InputError: The moments do not have that block or head.
    """
    moments = comparable(moments)
    last = moments[-1]
    at_block = _place("block", last.blocks, block)
    at_head = _place("head", last.heads, head)
    values = np.stack([m.attention[at_block, at_head].float().numpy() for m in moments])
    values[:, ~np.tri(values.shape[-1], dtype=bool)] = np.nan
    steps = _steps(moments)
    return AttentionHistory(steps, last.blocks[at_block], last.heads[at_head], last.labels, values)


def loss_history(rows: Sequence[Row]) -> LossHistory:
    """Return the losses of a run up to evenly spaced steps.

    Raises:
        InputError: No step has a finite loss.
    """
    losses = losses_of(rows)
    if not len(losses.steps):
        raise InputError("the run must have a step with a finite loss, it has none")
    steps = [int(losses.steps[i]) for i in evenly(len(losses.steps), LOSS_FRAMES + 1)][1:]
    steps = steps or [int(losses.steps[-1])]
    return LossHistory(steps, losses.steps, losses.smooth, losses.val_steps, losses.val_loss)


def _steps(moments: Sequence[Moment]) -> list[int]:
    return [moment.step for moment in moments]


def _place(what: str, kept: list[int], asked: int | None) -> int:
    if asked is None:
        return 0
    if asked not in kept:
        raise InputError(
            f"{what} must be one of those that the run has kept, {', '.join(map(str, kept))}, got "
            f"{asked}"
        )
    return kept.index(asked)
