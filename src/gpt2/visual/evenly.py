"""Which of many are shown where not all can be? Evenly chosen ones."""

import numpy as np


def evenly(count: int, most: int) -> list[int]:
    """Return at most `most` of the numbers from 0 to before `count`, the first and last of them.

    >>> evenly(10, 4)
    [0, 3, 6, 9]
    """
    chosen: list[int] = np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()
    return chosen
