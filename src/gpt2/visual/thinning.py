"""How is less drawn where all is too much? A matrix in cells of means, a list at even steps."""

import numpy as np

MOST = 600  # cells along a side
FEWEST = 100  # of the shorter side, where it has as many entries


def cell_shape(shape: tuple[int, int]) -> tuple[int, int]:
    """Return how many rows and columns go into a cell of a matrix of this shape.

    The matrix keeps its proportions, unless it is so long that its shorter side would be too thin
    to see: then a cell has fewer entries along that side.

    >>> cell_shape((300, 300)), cell_shape((768, 2304)), cell_shape((50257, 768))
    ((1, 1), (4, 4), (84, 7))
    """
    longest = -(-max(shape) // MOST)
    rows, columns = (min(longest, max(1, size // FEWEST)) for size in shape)
    return rows, columns


def binned(matrix: np.ndarray, cell: tuple[int, int]) -> np.ndarray:
    """Return the mean of each cell; the last ones of a side may be smaller.

    >>> binned(np.array([[1.0, 3.0, 10.0]]), (1, 2)).tolist()
    [[2.0, 10.0]]
    """
    for axis, size in enumerate(cell):
        if size == 1:
            continue
        starts = np.arange(0, matrix.shape[axis], size)
        counts = np.diff(starts, append=matrix.shape[axis]).astype(matrix.dtype)
        sums = np.add.reduceat(matrix, starts, axis=axis)
        matrix = sums / (counts[:, None] if axis == 0 else counts)
    return matrix


def evenly(count: int, most: int) -> list[int]:
    """Return at most `most` of the numbers from 0 to before `count`, the first and last of them.

    >>> evenly(10, 4)
    [0, 3, 6, 9]
    """
    chosen: list[int] = np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()
    return chosen
