"""How are the weights of a tensor distributed? A histogram and singular values, beside an image."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes

from gpt2.visual.style import DASHES, GRAY, SERIES, integer_ticks, logarithmic_height

BINS = (10, 101)  # the fewest and the most
CHUNK_ROWS = 4096  # multiplied in float64 at once


@dataclass(frozen=True)
class Histogram:
    """How many weights lie between each two edges."""

    edges: np.ndarray  # (bins + 1,)
    counts: np.ndarray  # (bins,)
    mean: float
    deviation: float

    def draw(self, axes: Axes) -> None:
        """Draw the counts, on a logarithmic axis, beside those of a normal distribution."""
        axes.stairs(self.counts, self.edges, color=SERIES[0], fill=True)
        total = int(self.counts.sum())
        if self.deviation > 0:
            middles, width = (self.edges[1:] + self.edges[:-1]) / 2, np.diff(self.edges)
            spread = (middles - self.mean) / self.deviation
            density = np.exp(-(spread**2) / 2) / (self.deviation * np.sqrt(2 * np.pi))
            axes.plot(
                middles, total * density * width, color=GRAY, linestyle=DASHES[1], linewidth=1.2
            )
        axes.set_ylim(0.7, 2 * max(1, self.counts.max()))  # first, so that the scale can be it
        logarithmic_height(axes)
        axes.locator_params(axis="x", nbins=5)
        axes.set(xlabel="weight (dashed: normal distribution)", ylabel="count")
        axes.set_title(f"Histogram of {total:,} weights", fontsize=10)


def histogram(weights: np.ndarray) -> Histogram:
    """Count the finite weights between evenly spaced edges."""
    finite = weights[np.isfinite(weights)]
    bins = int(np.clip(np.sqrt(finite.size), *BINS))
    counts, edges = np.histogram(finite if finite.size else [], bins=bins)
    mean, deviation = (finite.mean(dtype=float), finite.std(dtype=float)) if finite.size else (0, 0)
    return Histogram(edges, counts, float(mean), float(deviation))


def span(weights: np.ndarray) -> str:
    """Return in words from where to where weights go."""
    finite = weights[np.isfinite(weights)]
    if not finite.size:
        return "none of them finite"
    return f"from {finite.min():.3g} to {finite.max():.3g}"


def singular_values(matrix: np.ndarray) -> np.ndarray:
    """Return the singular values of a matrix of any size, largest first.

    They are the roots of the eigenvalues of the product of the matrix with itself, which has as
    many rows as the matrix's shorter side. Values below the largest over some 10 million are noise.
    """
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    product = np.zeros((tall.shape[1], tall.shape[1]))
    for start in range(0, len(tall), CHUNK_ROWS):
        rows = tall[start : start + CHUNK_ROWS].astype(np.float64)
        product += rows.T @ rows
    if not np.isfinite(product).all():
        return np.full(len(product), np.nan)
    return np.sqrt(np.clip(np.linalg.eigvalsh(product)[::-1], 0, None))


def draw_singular_values(values: np.ndarray, axes: Axes) -> None:
    """Draw singular values by rank, largest first."""
    marker = "o" if len(values) <= 32 else None
    axes.plot(np.arange(1, len(values) + 1), values, color=SERIES[1], marker=marker, markersize=3)
    axes.set_ylim(bottom=0)
    integer_ticks(axes.xaxis)
    axes.grid(axis="y")
    axes.set(xlabel="rank", ylabel="singular value")
    axes.set_title(f"Singular values, all {len(values):,}", fontsize=10)
    if not np.isfinite(values).all():
        axes.text(0.5, 0.5, "weights are not finite", transform=axes.transAxes, ha="center")
