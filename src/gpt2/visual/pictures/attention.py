"""Where do the tokens of a text look? The attention weights of one head, or of many.

Dimension key: B blocks, H heads, T tokens, N cells a side of a map: T, or fewer if binned.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from torch import Tensor

from gpt2.errors import InputError
from gpt2.files.pretrained import GPT2
from gpt2.model.attention import Attention, manual_attention
from gpt2.visual.capture import Recording, record
from gpt2.visual.pictures.picture import Picture, Table
from gpt2.visual.style import ATTENTION, MOST_LABELS, new_figure
from gpt2.visual.token_texts import label, token_texts

MOST_CELLS = {1: 512, 25: 128}  # a side, by the number of maps
MOST_CELLS_OF_MANY = 48
MOST_LABELS_OF_PANELS = 16  # tokens along the axes of a panel
INCHES_A_LABEL = 0.17
TABLE_ROWS = 48
PATTERNS = ("to itself", "to the token before", "to the first token")


def attention_maps(
    model: GPT2, recording: Recording, block: int | None = None, head: int | None = None
) -> "AttentionMaps":
    """Take the attention weights of one head, one block, or all from a recording.

    Args:
        model: The model that was recorded.
        recording: Of a text.
        block: 0-based; all blocks if not given.
        head: 0-based; all heads if not given.
    Raises:
        InputError: There is no such block or head.
    """
    blocks = _chosen("block", block, model.config.n_layer)
    heads = _chosen("head", head, model.config.n_head)
    count = len(blocks) * len(heads)
    most = next((cells for maps, cells in MOST_CELLS.items() if count <= maps), MOST_CELLS_OF_MANY)
    tokens_a_cell = -(-len(recording.ids) // most)
    maps, patterns = [], []
    for i in blocks:  # one at a time: (H, T, T) is much for a long text
        weights = recording.weights(i)[heads]
        maps.append(_binned(weights, tokens_a_cell))
        patterns.append(_patterns(weights))
    return AttentionMaps(
        tokens=token_texts(model.require_tokenizer(), recording.ids),
        blocks=blocks,
        heads=heads,
        weights=np.stack(maps),
        patterns=np.stack(patterns),
        tokens_a_cell=tokens_a_cell,
    )


def _chosen(name: str, index: int | None, count: int) -> list[int]:
    if index is None:
        return list(range(count))
    if not 0 <= index < count:
        raise InputError(f"{name} must be 0 to {count - 1} in this model, got {index}")
    return [index]


def _binned(weights: Tensor, size: int) -> np.ndarray:  # (H, T, T) -> (H, N, N)
    """Sum over the tokens attended to, average over those that attend; the future is NaN."""
    count = weights.size(-1)
    padding = -count % size
    padded = F.pad(weights, (0, padding, 0, padding))
    sums = padded.unflatten(2, (-1, size)).sum(3).unflatten(1, (-1, size)).sum(2)  # (H, N, N)
    cells = sums.size(-1)
    rows = torch.full((cells, 1), float(size))
    rows[-1] -= padding
    future = torch.ones(cells, cells, dtype=torch.bool).triu(1)
    return (sums / rows).masked_fill(future, torch.nan).numpy()


def _patterns(weights: Tensor) -> np.ndarray:  # (H, T, T) -> (H, 3)
    """Return the mean weight of each pattern, over all tokens but the first; NaN of one token."""
    later = weights[:, 1:]
    means = (later.diagonal(1, 1, 2), later.diagonal(0, 1, 2), later[:, :, 0])
    return torch.stack([mean.mean(dim=-1) for mean in means], dim=-1).numpy()


@dataclass(frozen=True)
class AttentionMaps(Picture):
    """The attention weights of a text, by block and head."""

    name = "attention"
    title = "Attention"
    seen = (
        "Each row is a token that attends, each column a token attended to; the lighter a cell, "
        "the larger the attention weight; the scale is of its square root. A row sums to 1. A "
        "token sees no token after it: that half is blank."
    )
    look_for = (
        "A bright diagonal: tokens look at themselves. A line just below it: at the token before. "
        "A bright first column: a head that has found nothing looks there. Lines farther below: a "
        "head that finds where the text has repeated itself."
    )
    code = (Attention.weights, manual_attention, record)

    tokens: list[str]
    blocks: list[int]
    heads: list[int]
    weights: np.ndarray  # (B, H, N, N): summed over a cell's columns, averaged over its rows
    patterns: np.ndarray  # (B, H, 3): mean weight of each of PATTERNS
    tokens_a_cell: int

    def draw(self) -> Figure:
        """Draw one map, a panel for each of a block's heads, or all heads of all blocks."""
        if len(self.blocks) > 1 and len(self.heads) > 1:
            return self._draw_mosaic()
        return self._draw_panels()

    def _draw_panels(self) -> Figure:
        """Draw the maps of one block, or of one head, each with its own axes."""
        maps = self.weights.reshape(-1, *self.weights.shape[2:])
        one_block = len(self.blocks) == 1
        names = [
            f"head {h}" if one_block else f"block {b}" for b in self.blocks for h in self.heads
        ]
        columns = math.ceil(math.sqrt(len(maps)))
        rows = math.ceil(len(maps) / columns)
        labels = [label(token) for token in self.tokens]
        if len(labels) > (MOST_LABELS if len(maps) == 1 else MOST_LABELS_OF_PANELS):
            labels = []
        side = max(5.0 if len(maps) == 1 else 2.4, INCHES_A_LABEL * len(labels))
        figure = Figure(figsize=(columns * side + 2, rows * side + 1.2))
        grid = figure.subplots(rows, columns, squeeze=False).flat
        for number, (axes, weights, name) in enumerate(zip(grid, maps, names, strict=False)):
            image = self._draw_map(axes, weights, labels)
            if len(maps) > 1:
                axes.set_title(name, fontsize=10, fontweight="normal", pad=4)
            is_lowest, is_first = number + columns >= len(maps), number % columns == 0
            axes.tick_params(labelbottom=is_lowest, labelleft=is_first)
        for axes in grid[len(maps) :]:
            axes.remove()
        self._add_scale(figure, image)
        figure.supxlabel("token attended to")
        figure.supylabel("token that attends")
        return figure

    def _draw_map(self, axes: Axes, weights: np.ndarray, labels: list[str]) -> AxesImage:
        count = len(self.tokens)
        side = len(weights) * self.tokens_a_cell
        edges = (-0.5, side - 0.5, side - 0.5, -0.5)  # in tokens, the first on top
        image = axes.imshow(weights, cmap=ATTENTION, norm=scale(), extent=edges)
        axes.set(xlim=(-0.5, count - 0.5), ylim=(count - 0.5, -0.5))
        if labels:
            axes.set_xticks(range(count), labels, rotation=90)
            axes.set_yticks(range(count), labels)
        return image

    def _draw_mosaic(self) -> Figure:
        """Draw all maps as one image, a row a block and a column a head."""
        cells = self.weights.shape[-1]
        gap = math.ceil(cells / 10)
        padded = np.pad(self.weights, ((0, 0), (0, 0), (0, gap), (0, gap)), constant_values=np.nan)
        blocks, heads, side, _ = padded.shape
        mosaic = padded.transpose(0, 2, 1, 3).reshape(blocks * side, heads * side)
        inches = min(2.0, max(0.4, 11 / heads))  # a map
        figure, axes = new_figure(heads * inches + 2, blocks * inches + 1.2)
        image = axes.imshow(mosaic[:-gap, :-gap], cmap=ATTENTION, norm=scale())
        axes.set_xticks((cells - 1) / 2 + side * np.arange(heads), map(str, self.heads))
        axes.set_yticks((cells - 1) / 2 + side * np.arange(blocks), map(str, self.blocks))
        axes.set(xlabel="head", ylabel="block")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        self._add_scale(figure, image)
        return figure

    def _add_scale(self, figure: Figure, image: AxesImage) -> None:
        name = "attention weight"
        if self.tokens_a_cell > 1:
            name += f", sum over {self.tokens_a_cell} tokens attended to"
        figure.set_layout_engine("compressed")  # for images, whose cells are square
        figure.colorbar(image, ax=figure.axes, label=name, shrink=0.8, aspect=40)
        figure.suptitle(self.heading(), x=0.01, ha="left")

    def heading(self) -> str:
        """Return the title with what is shown."""
        block = f"block {self.blocks[0]}" if len(self.blocks) == 1 else "all blocks"
        head = f"head {self.heads[0]}" if len(self.heads) == 1 else "all heads"
        count = len(self.tokens)
        return f"Attention of {block}, {head}, over {count} token{'s' * (count > 1)}"

    def table(self) -> Table:
        """Return how much of its attention each head gives to a few places, on average."""
        means = self.patterns.reshape(-1, len(PATTERNS))
        names = [[b, h] for b in self.blocks for h in self.heads]
        clearest = np.sort(np.argsort(-means.max(axis=1), kind="stable")[:TABLE_ROWS])
        rows = [[*names[i], *(_rounded(float(mean)) for mean in means[i])] for i in clearest]
        return Table(["block", "head", *PATTERNS], rows)

    def description(self) -> str:
        """Return what is drawn."""
        return f"{self.heading()}: {len(self.blocks) * len(self.heads)} maps."


def scale() -> Normalize:
    """Return the scale of the colors: by the square root, so that small weights are seen, too."""
    return PowerNorm(0.5, vmin=0, vmax=1)


def _rounded(mean: float) -> float | None:
    return None if math.isnan(mean) else round(mean, 3)
