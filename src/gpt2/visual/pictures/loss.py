"""How did the loss of runs fall? Over steps, tokens or hours, beside what is known."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gpt2.errors import InputError
from gpt2.visual.evenly import evenly
from gpt2.visual.labels import label_ends
from gpt2.visual.losses import Losses, Over, Row, losses_of, smoothed
from gpt2.visual.pictures.picture import Picture, Table
from gpt2.visual.style import (
    DASHES,
    GRAY,
    HELD_OUT,
    SERIES,
    TRAINING,
    logarithmic_width,
    new_figure,
)

MOST_RUNS = len(SERIES)
TABLE_ROWS = 33
LABELS = {
    "steps": "step",
    "tokens": "tokens read",
    "hours": "hours of training, without evaluations",
}
UNITS = ((1e12, "trillions"), (1e9, "billions"), (1e6, "millions"), (1e3, "thousands"))

Band = Sequence[tuple[int, float, float]]  # a step, and the range of the held-out loss there


@dataclass(frozen=True)
class Curves:
    """The losses of a run in nats a token, over what the picture is over; N points, M held out."""

    run: str  # its name
    steps: np.ndarray  # (N,)
    x: np.ndarray  # (N,)
    loss: np.ndarray  # (N,), of training
    smooth: np.ndarray  # (N,)
    val_steps: np.ndarray  # (M,)
    val_x: np.ndarray  # (M,)
    val_loss: np.ndarray  # (M,)
    band: list[tuple[float, float, float]]  # x, and the range of the held-out loss of like runs


def loss_curves(
    runs: Mapping[str, Sequence[Row]],
    over: Over = "steps",
    *,
    references: Mapping[str, float] | None = None,
    bands: Mapping[str, Band] | None = None,
    logarithmic: bool = False,
) -> "LossCurves":
    """Read the losses of runs.

    Args:
        runs: The rows of metrics.jsonl, by the name of the run.
        over: What the horizontal axis counts.
        references: Losses to compare with, by name, in nats a token.
        bands: The known range of the held-out loss of a run, by its name.
        logarithmic: Whether the horizontal axis is.
    Raises:
        InputError: There are more runs than lines can be told apart, or a run has not recorded
            what they are drawn over.
    """
    if not 1 <= len(runs) <= MOST_RUNS:
        raise InputError(f"runs must be 1 to {MOST_RUNS}, got {len(runs)}")
    curves = [
        _curves(name, losses_of(rows), over, (bands or {}).get(name, ()))
        for name, rows in runs.items()
    ]
    return LossCurves(over, curves, dict(references or {}), logarithmic)


def _curves(name: str, losses: Losses, over: Over, band: Band) -> Curves:
    x, val_x = losses.at(losses.steps, over), losses.at(losses.val_steps, over)
    known, val_known = np.isfinite(x), np.isfinite(val_x)
    if len(known) + len(val_known) and not known.any() and not val_known.any():
        raise InputError(f"{name} has no {over} in its metrics; draw it over steps")
    places = losses.at(np.array([step for step, _, _ in band], dtype=int), over)
    return Curves(
        run=name,
        steps=losses.steps[known],
        x=x[known],
        loss=losses.loss[known],
        smooth=losses.smooth[known],
        val_steps=losses.val_steps[val_known],
        val_x=val_x[val_known],
        val_loss=losses.val_loss[val_known],
        band=[
            (float(place), low, high)
            for place, (_, low, high) in zip(places, band, strict=True)
            if math.isfinite(place)
        ],
    )


@dataclass(frozen=True)
class LossCurves(Picture):
    """The losses of one run or several."""

    name = "loss"
    title = "Loss"
    seen = (
        "How badly a model predicts the next token while it trains, in nats a token: less is "
        "better. The line is the loss of each step's own tokens; in a longer run that line is "
        "pale, and a mean over steps is drawn in it. The dots are the loss on text that is held "
        "out. A band is the range in which the held-out loss of like runs lies."
    )
    look_for = (
        "A steep fall first, while the model learns how frequent tokens are, then a long slow one. "
        "A held-out loss that rises while that of training falls: the model learns its text by "
        "heart. Jumps that do not come back: the learning rate is too high."
    )
    code = (losses_of, smoothed)

    over: Over
    runs: list[Curves]
    references: dict[str, float]  # nats a token, by name
    logarithmic: bool

    def draw(self) -> Figure:
        """Draw two lines a run, with names at their ends."""
        figure, axes = new_figure(8, 4.5)
        labels = self._draw_named(axes)
        for (name, loss), dash in zip(self.references.items(), cycle(DASHES[1:]), strict=False):
            ends = self._x_limits()
            axes.plot(ends, (loss, loss), color=GRAY, linewidth=1, linestyle=dash, zorder=1)
            labels.append(f"{name} {loss:.2f}")
        self._draw_behind(axes)
        self._set_axes(axes)
        label_ends(axes, labels)
        return figure

    def _draw_named(self, axes: Axes) -> list[str]:
        """Draw the lines that have a name at their end, and return the names.

        Of several runs, the held-out loss has the name, or that of training where it is alone.
        """
        alone, labels = len(self.runs) == 1, []
        for number, run in enumerate(self.runs):
            color, held_out = (TRAINING, HELD_OUT) if alone else (SERIES[number], SERIES[number])
            dash = DASHES[number]
            if len(run.x) and (alone or not len(run.val_x)):
                axes.plot(run.x, run.smooth, color=color, linestyle=dash, zorder=2)
                labels.append("training" if alone else run.run)
            if len(run.val_x):
                dots: dict[str, Any] = {"marker": "o", "markersize": 4, "linewidth": 1.2}
                axes.plot(run.val_x, run.val_loss, color=held_out, linestyle=dash, zorder=3, **dots)
                labels.append("held out" if alone else run.run)
        return labels

    def _draw_behind(self, axes: Axes) -> None:
        """Draw what has no name at its end."""
        alone = len(self.runs) == 1
        for number, run in enumerate(self.runs):
            color = TRAINING if alone else SERIES[number]
            axes.plot(run.x, run.loss, color=color, linewidth=0.6, alpha=0.3, zorder=1)
            if not alone and len(run.val_x):
                axes.plot(run.x, run.smooth, color=color, linewidth=0.9, alpha=0.8, zorder=2)
            if run.band:
                x, low, high = zip(*run.band, strict=True)
                shade = HELD_OUT if alone else color
                axes.fill_between(x, low, high, color=shade, alpha=0.18, linewidth=0, zorder=0)

    def _set_axes(self, axes: Axes) -> None:
        largest = max((float(run.x.max()) for run in self.runs if len(run.x)), default=1.0)
        factor, label = 1.0, LABELS[self.over]
        if self.over == "tokens" and largest >= UNITS[-1][0]:
            factor, unit = next((factor, unit) for factor, unit in UNITS if largest >= factor)
            label = f"{unit} of {label}"
        axes.set(title=self.title, xlabel=label, ylabel="loss, in nats a token")
        if self.logarithmic:
            logarithmic_width(axes)
        axes.set_xlim(*self._x_limits())
        axes.set_ylim(*self._y_limits())
        axes.xaxis.set_major_formatter(lambda x, _: f"{x / factor:,.10g}")
        axes.grid(axis="y")
        if handles := self._explained():
            axes.legend(
                handles=handles, loc="lower right", bbox_to_anchor=(1, 1), ncols=3, borderpad=0
            )

    def _x_limits(self) -> tuple[float, float]:
        xs = [x for run in self.runs for x in (*run.x, *run.val_x)]
        if self.logarithmic:
            xs = [x for x in xs if x > 0]
        low, high = (min(xs), max(xs)) if xs else (1.0, 1.0)
        if high == low:
            return low / 2, low * 2
        return low, high * 1.05 if self.logarithmic else high + 0.01 * (high - low)

    def _y_limits(self) -> tuple[float, float]:
        """Return limits that hold all lines; of single steps, an outlier may be outside."""
        ys = [y for run in self.runs for y in (*run.smooth, *run.val_loss)]
        ys += self.references.values()
        ys += [y for run in self.runs for _, *range_ in run.band for y in range_]
        for run in self.runs:
            if len(run.loss):
                ys += np.percentile(run.loss, [0.5, 99.5]).tolist()
        low, high = (min(ys), max(ys)) if ys else (0.0, 1.0)
        margin = 0.04 * (high - low) or 0.5
        return low - margin, high + margin

    def _explained(self) -> list[Line2D | Patch]:
        """Return what the legend explains: what no name at a line's end does."""
        handles: list[Line2D | Patch] = []
        if len(self.runs) > 1 and any(len(run.val_x) for run in self.runs):
            handles.append(Line2D([], [], color=GRAY, linewidth=0.9, label="training"))
            handles.append(Line2D([], [], color=GRAY, marker="o", markersize=4, label="held out"))
        if any(run.band for run in self.runs):
            shade = HELD_OUT if len(self.runs) == 1 else GRAY
            label = "held out, range of like runs"
            handles.append(Patch(color=shade, alpha=0.3, linewidth=0, label=label))
        return handles

    def table(self) -> Table:
        """Return the losses at evenly spaced evaluations, or steps where there are none."""
        rows: list[list[str | float | None]] = []
        for run in self.runs:
            steps = run.val_steps if len(run.val_steps) else run.steps
            chosen = evenly(len(steps), TABLE_ROWS // len(self.runs)) if len(steps) else []
            for i in chosen:
                near = int(np.searchsorted(run.steps, steps[i])) if len(run.steps) else 0
                at = min(near, len(run.steps) - 1)
                training = round(float(run.smooth[at]), 4) if len(run.steps) else None
                held_out = round(float(run.val_loss[i]), 4) if len(run.val_steps) else None
                rows.append([run.run, int(steps[i]), training, held_out])
        return Table(["run", "step", "training loss, mean", "held-out loss"], rows)

    def description(self) -> str:
        """Return the last losses of each run."""
        return " ".join(map(_last_losses, self.runs))


def _last_losses(run: Curves) -> str:
    parts = []
    if len(run.steps):
        parts.append(f"training loss {run.smooth[-1]:.3f} at step {run.steps[-1]}")
    if len(run.val_steps):
        lowest = int(run.val_loss.argmin())
        parts.append(
            f"held-out loss {run.val_loss[-1]:.3f} at step {run.val_steps[-1]}, lowest "
            f"{run.val_loss[lowest]:.3f} at step {run.val_steps[lowest]}"
        )
    return f"{run.run}: {', '.join(parts) or 'no finite loss'}."
