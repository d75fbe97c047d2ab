"""Where do labels go so that none lies on another?"""

from collections.abc import Iterator, Sequence
from statistics import fmean

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

SIZE = 8.5  # of a label, in points
LINE_HEIGHT = 1.3  # of a label, over its size
GAP = 4.0  # points between the middle of a point and its label
NOTHING = 1e-6  # of an area that is 0 up to rounding
DIRECTIONS = 16  # in which a place is looked for around a point
RINGS = 25  # distances at which it is looked for, in steps of a label's height


def label_ends(axes: Axes, labels: Sequence[str]) -> None:
    """Write the label of each line right of the axes, in the line's color.

    Each is joined to its line's end, for it may give way to another. A line without an end that is
    finite has no label. The axes' limits must be final.

    Args:
        axes: Holds the lines, in the labels' order, before any other line.
        labels: Of the lines.
    """
    figure = axes.figure
    assert isinstance(figure, Figure)
    height = axes.get_position().height * figure.get_figheight() * 72  # points
    axes.get_ylim()  # brings the limits up to date
    to_axes = axes.transData + axes.transAxes.inverted()
    ended = [
        (label, line, end)
        for label, line in zip(labels, axes.lines, strict=False)
        if (end := _end(line)) is not None
    ]
    at = [float(to_axes.transform(end)[1]) for _, _, end in ended]
    places = spread(at, gap=SIZE * LINE_HEIGHT / height)
    for (label, line, end), y in zip(ended, places, strict=True):
        axes.annotate(
            label,
            xy=end,
            xytext=(1.025, y),
            textcoords="axes fraction",
            color=line.get_color(),
            fontsize=SIZE,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": line.get_color(),
                "linewidth": 0.7,
                "relpos": (0, 0.5),
                "shrinkA": 0,
                "shrinkB": 2,
            },
        )


def _end(line: Line2D) -> tuple[float, float] | None:
    """Return the last point of a line that is finite, None if there is none."""
    points = np.stack([np.asarray(each, dtype=float) for each in line.get_data()], axis=1)
    finite = points[np.isfinite(points).all(axis=1)]
    return (float(finite[-1, 0]), float(finite[-1, 1])) if len(finite) else None


def spread(values: Sequence[float], *, gap: float) -> list[float]:
    """Move values apart, as little as can be, until each two differ by `gap`.

    >>> spread([5.0, 1.0, 5.0], gap=1.0)
    [4.5, 1.0, 5.5]
    """
    order = np.argsort(values, kind="stable")
    steps = np.arange(len(values)) * gap
    groups: list[list[float]] = []  # of neighbors that touch each other, about their middle
    for place in np.asarray(values, dtype=float)[order] - steps:
        groups.append([float(place)])
        while len(groups) > 1 and fmean(groups[-2]) > fmean(groups[-1]):
            groups[-2:] = [groups[-2] + groups[-1]]
    moved = np.empty(len(values))
    moved[order] = [fmean(group) for group in groups for _ in group] + steps
    return [float(value) for value in moved]


def label_points(axes: Axes, points: np.ndarray, labels: Sequence[str]) -> None:
    """Write a label beside each point; one that has to go farther is joined to its point.

    The axes' limits stay as they are, and nothing that changes their size may follow.

    Args:
        axes: Where the points are drawn.
        points: (N, 2), as the axes count.
        labels: N texts.
    """
    figure = axes.figure
    assert isinstance(figure, Figure)
    axes.autoscale_view()
    axes.autoscale(False)
    texts = [
        axes.annotate(label, point, xytext=(0, 0), textcoords="offset pixels", fontsize=SIZE)
        for label, point in zip(labels, points, strict=True)
    ]
    for text in texts:
        text.set_in_layout(False)
    figure.draw_without_rendering()  # the axes get their size, and the texts theirs
    boxes = [text.get_window_extent() for text in texts]
    sizes = np.array([(box.width, box.height) for box in boxes])
    at = axes.transData.transform(points)
    room = np.array(axes.get_window_extent().get_points())
    pixel = 72 / figure.dpi  # in points, so that the places hold at any resolution
    corners = place(at * pixel, sizes * pixel, room * pixel)
    for text, here, corner, size in zip(texts, at, corners / pixel, sizes, strict=True):
        x, y = (corner - here) * pixel
        text.set_anncoords("offset points")
        text.xyann = (float(x), float(y))
        _join(axes, here, corner, size)


def place(points: np.ndarray, sizes: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Return a lower left corner for the label of each point, (N, 2).

    No label lies on a point or on another label, unless there is no room left.

    Args:
        points: (N, 2), in points.
        sizes: Widths and heights of the labels, (N, 2), in points.
        room: Lower left and upper right corner of where labels may lie, (2, 2), in points.
    """
    taken = np.concatenate([points - GAP, points + GAP], axis=1)  # boxes: x0, y0, x1, y1
    corners = np.empty((len(points), 2))
    for i in _most_crowded_first(points):
        others = np.delete(taken, i, axis=0)  # it may touch its own point's box
        least = np.inf
        for corner in _places_around(points[i], sizes[i]):
            overlap = _outside(corner, sizes[i], room) + _overlap(corner, sizes[i], others)
            if overlap < least:
                least, corners[i] = overlap, corner
            if overlap < NOTHING:
                break
        box = np.concatenate([corners[i] - 1, corners[i] + sizes[i] + 1])
        taken = np.concatenate([taken, box[None]])
    return corners


def _most_crowded_first(points: np.ndarray) -> list[int]:
    """Return the indices of the points, those in the middle of most others first."""
    distances = np.linalg.norm(points[:, None] - points, axis=-1)  # (N, N)
    return [int(i) for i in np.argsort(np.median(distances, axis=1), kind="stable")]


def _places_around(point: np.ndarray, size: np.ndarray) -> Iterator[np.ndarray]:
    """Yield lower left corners around a point, near ones first, at the right before the left."""
    angles = np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS
    ways = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ways = ways[np.argsort(-ways[:, 0], kind="stable")]
    for ring in range(RINGS):
        distance = GAP + 1 + ring * size[1]
        for way in ways:
            # The middle of the label: beside the point by half its size and the distance.
            yield point + way * (distance + size / 2) - size / 2


def _overlap(corner: np.ndarray, size: np.ndarray, boxes: np.ndarray) -> float:
    """Return the area that a label shares with boxes."""
    low = np.maximum(corner, boxes[:, :2])
    high = np.minimum(corner + size, boxes[:, 2:])
    return float(np.prod(np.clip(high - low, 0, None), axis=1).sum())


def _outside(corner: np.ndarray, size: np.ndarray, room: np.ndarray) -> float:
    """Return the area of a label that lies outside."""
    return float(np.prod(size)) - _overlap(corner, size, room.reshape(1, 4))


def _join(axes: Axes, point: np.ndarray, corner: np.ndarray, size: np.ndarray) -> None:
    """Draw a line from a point to a label that is not beside it."""
    nearest = np.clip(point, corner, corner + size)
    if np.linalg.norm(nearest - point) > size[1]:
        ends = axes.transData.inverted().transform([point, nearest])
        axes.plot(*ends.T, color=mpl.rcParams["axes.edgecolor"], linewidth=0.5, zorder=1)
