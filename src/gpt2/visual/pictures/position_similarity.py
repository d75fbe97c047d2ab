"""How alike are the embeddings of two positions? Their cosine, for all pairs as a map."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from gpt2.model.gpt import GPT2Network
from gpt2.visual.pictures.picture import Picture, Table
from gpt2.visual.style import SIMILARITY, color_scale, integer_ticks, new_figure
from gpt2.visual.thinning import binned, cell_shape

DISTANCES = tuple(2**k for k in range(14))  # in tokens, of the table's rows


def position_similarity(model: GPT2Network) -> "PositionSimilarity":
    """Return the cosine of the embeddings of each two positions."""
    embeddings = model.wpe.weight.detach().double().cpu().numpy()  # (n_positions, C)
    lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
    directions = embeddings / np.where(lengths == 0, 1, lengths)  # a zero vector is like no other
    cosines = directions @ directions.T
    size = len(cosines)
    cell, _ = cell_shape(cosines.shape)
    distances = [distance for distance in DISTANCES if distance < size]
    means = [float(np.diagonal(cosines, distance).mean().round(4)) for distance in distances]
    return PositionSimilarity(size, cell, binned(cosines, (cell, cell)).round(4), distances, means)


@dataclass(frozen=True)
class PositionSimilarity(Picture):
    """The cosine similarity of all positions."""

    name = "position-similarity"
    title = "Similarity of positions"
    seen = (
        "A row and a column for each position of the context. A cell is the cosine of the angle "
        "between their two embeddings in wpe: 1 where they point the same way, 0 where they have "
        "nothing in common, -1 where they are opposite."
    )
    look_for = (
        "The diagonal is 1: each position is like itself. In a trained model it is a broad band, "
        "since neighbors are alike, and similarity falls, or rises and falls, with distance. "
        "Before training there is nothing beside the diagonal. The first position is often unlike "
        "all others."
    )
    code = (position_similarity,)

    n_positions: int
    cell: int  # positions along a side of a cell
    cosines: np.ndarray  # (cells, cells), the mean of each
    distances: list[int]  # between positions, in tokens
    mean_at_distance: list[float]  # of the cosines

    def draw(self) -> Figure:
        """Draw the map."""
        figure, axes = new_figure(6, 5)
        end = self.n_positions - 0.5
        image = axes.imshow(
            self.cosines, cmap=SIMILARITY, vmin=-1, vmax=1, extent=(-0.5, end, end, -0.5)
        )
        axes.set(title=self.title, xlabel="position, in tokens", ylabel="position, in tokens")
        for axis in (axes.xaxis, axes.yaxis):
            integer_ticks(axis)
        averaged = "" if self.cell == 1 else f", mean of {self.cell} x {self.cell} positions"
        color_scale(axes, image, f"cosine similarity{averaged}", width=4.5)
        return figure

    def table(self) -> Table:
        """Return the mean similarity of positions at some distances."""
        rows = list(zip(self.distances, self.mean_at_distance, strict=True))
        return Table(["distance, in tokens", "mean cosine similarity"], rows)

    def description(self) -> str:
        """Return what is drawn."""
        start = f"Cosine similarity of {self.n_positions} positions"
        if not self.distances:
            return f"{start}."
        return f"{start}; of neighbors {self.mean_at_distance[0]:.2f} on average."
