"""What is left of much: cells of a matrix."""

import numpy as np

from gpt2.visual.thinning import FEWEST, MOST, binned, cell_shape


def test_a_cell_is_the_mean_of_its_entries_and_the_last_ones_are_smaller() -> None:
    matrix = np.array([[1.0, 2.0, 3.0], [5.0, 6.0, 7.0], [0.0, 4.0, 9.0]])
    assert binned(matrix, (2, 2)).tolist() == [[3.5, 5.0], [2.0, 9.0]]
    assert binned(matrix, (1, 3)).tolist() == [[2.0], [6.0], [13 / 3]]
    assert binned(matrix, (3, 1)).tolist() == [[2.0, 4.0, 19 / 3]]


def test_a_matrix_in_cells_of_one_entry_is_itself() -> None:
    matrix = np.arange(6.0).reshape(2, 3)
    assert np.array_equal(binned(matrix, (1, 1)), matrix)


def test_cells_are_few_and_not_too_few() -> None:
    for shape in ((1, 1), (600, 600), (601, 5), (50257, 768), (1600, 6400), (3, 100_000)):
        cells = [-(-size // step) for size, step in zip(shape, cell_shape(shape), strict=True)]
        assert max(cells) <= MOST
        assert all(count >= min(size, FEWEST) for count, size in zip(cells, shape, strict=True))
