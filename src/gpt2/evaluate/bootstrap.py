"""How sure a mean is: the bootstrap over blocks, which are documents, windows or rows.

Source: Efron 1979, Bootstrap Methods: Another Look at the Jackknife. Tokens of one text are not
independent, so that whole blocks are drawn: Künsch 1989, The Jackknife and the Bootstrap for
General Stationary Observations.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

DRAWS = 1000


def resampled_means(
    blocks: ArrayLike, *, draws: int = DRAWS, seed: int = 0
) -> NDArray[np.float64]:  # (N, K) -> (draws, K)
    """Return the means of blocks drawn with replacement, as many as there are.

    Args:
        blocks: K numbers of each of N blocks, N at least 1, (N, K).
        draws: How often to draw.
        seed: Of the draws.
    """
    values = np.asarray(blocks, np.float64)
    generator = np.random.default_rng(seed)
    means = np.empty((draws, values.shape[1]))
    for mean in means:
        mean[:] = values[generator.integers(0, len(values), len(values))].mean(axis=0)
    return means


def standard_error(values: ArrayLike) -> float | None:
    """Return the standard error of the mean of independent values, None of fewer than two."""
    numbers = np.asarray(values, np.float64)
    if len(numbers) < 2:
        return None
    return float(numbers.std(ddof=1) / np.sqrt(len(numbers)))
