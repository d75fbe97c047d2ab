"""What do position embeddings look like? A few channels over all positions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from gpt2.errors import InputError
from gpt2.model.gpt import GPT2Network
from gpt2.visual.labels import label_ends
from gpt2.visual.pictures.picture import Picture, Table, rounded
from gpt2.visual.style import DASHES, SERIES, integer_ticks, new_figure
from gpt2.visual.thinning import evenly

CHANNELS = 4  # chosen where none are asked for
MOST_CHANNELS = len(SERIES)
FEW_POSITIONS = 32  # up to which each is marked
TABLE_ROWS = 33


def position_curves(
    model: GPT2Network, channels: Sequence[int] | None = None, *, seed: int = 0
) -> "PositionCurves":
    """Read the position embeddings of some channels.

    Args:
        model: Any GPT-2.
        channels: 0-based; four chosen at random if not given.
        seed: Seed of the choice.
    Raises:
        InputError: There is no such channel, one is there twice, or there are more than lines can
            be told apart.
    """
    embeddings = model.wpe.weight.detach().float().cpu().numpy()  # (n_positions, C)
    count = embeddings.shape[1]
    if channels is None:
        channels = chosen_channels(count, seed)
    if not 1 <= len(channels) <= MOST_CHANNELS:
        raise InputError(f"channels must be 1 to {MOST_CHANNELS} numbers, got {len(channels)}")
    if outside := [channel for channel in channels if not 0 <= channel < count]:
        raise InputError(f"channels must be 0 to {count - 1} in this model, got {outside}")
    if len(set(channels)) < len(channels):
        raise InputError(f"channels must differ from each other, got {list(channels)}")
    return PositionCurves(list(channels), embeddings[:, list(channels)].T)


def chosen_channels(count: int, seed: int = 0) -> list[int]:
    """Return the channels that are shown of `count`, chosen at random by the seed."""
    chosen = np.random.default_rng(seed).choice(count, min(CHANNELS, count), replace=False)
    return sorted(chosen.tolist())


@dataclass(frozen=True)
class PositionCurves(Picture):
    """The position embeddings of some channels."""

    name = "positions"
    title = "Position embeddings"
    seen = (
        "Each line is one channel of the position embeddings, wpe: the number that it adds to a "
        "token's embedding at each position of the context."
    )
    look_for = (
        "In a trained model the lines are smooth waves: positions near each other get similar "
        "vectors, though nothing but the text has taught them so. Before training they are noise. "
        "Positions that training seldom reached stay noisy."
    )
    code = (position_curves,)

    channels: list[int]
    values: np.ndarray  # (channels, n_positions)

    def draw(self) -> Figure:
        """Draw a line a channel, with its number at its end."""
        figure, axes = new_figure(8, 4)
        count = self.values.shape[1]
        marker = "o" if count <= FEW_POSITIONS else ""
        for i, line in enumerate(self.values):
            axes.plot(
                line,
                color=SERIES[i],
                linestyle=DASHES[i],
                linewidth=1.3,
                marker=marker,
                markersize=3,
            )
        axes.set(title=self.title, xlabel="position, in tokens", ylabel="value", xmargin=0.01)
        axes.grid(axis="y")
        integer_ticks(axes.xaxis)
        label_ends(axes, [f"channel {channel}" for channel in self.channels])
        return figure

    def table(self) -> Table:
        """Return the values at evenly spaced positions."""
        chosen = evenly(self.values.shape[1], TABLE_ROWS)
        rows = [[i, *rounded(*self.values[:, i])] for i in chosen]
        return Table(["position", *(f"channel {channel}" for channel in self.channels)], rows)

    def description(self) -> str:
        """Return what is drawn."""
        listed = ", ".join(map(str, self.channels))
        return f"Values of channels {listed} at positions 0 to {self.values.shape[1] - 1}."
