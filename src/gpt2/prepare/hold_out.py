"""Which documents are held out for evaluation: a pure function of their number and the seed."""

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.int64]


def held_out(numbers: Numbers, share: float, seed: int) -> npt.NDArray[np.bool_]:
    """Return for each document whether it is held out: a random one of every 1 / share in a row.

    So any stretch of the source has its share, and the documents need not be counted beforehand.
    The first document is never held out and the second always is, so two suffice for both splits.

    Args:
        numbers: Numbers of the documents; the first of the source is 0.
        share: Share of the documents to hold out, at least 0 and below 1.
        seed: Decides which are drawn, at least 0.

    >>> held_out(np.arange(10), 0.2, seed=1).sum()
    np.int64(2)
    """
    if share == 0:
        return np.zeros(len(numbers), np.bool_)
    stratum = np.floor(numbers * share).astype(np.int64)
    # Rounding may be off by one, so the strata before and after are tried too.
    near = [numbers == _drawn(stratum + step, share, seed) for step in (-1, 0, 1)]
    return np.logical_or.reduce(near)


def _drawn(stratum: Numbers, share: float, seed: int) -> Numbers:
    """Return the number of the document that is drawn from each stratum of 1 / share documents."""
    first, after = (np.ceil(k / share).astype(np.int64) for k in (stratum, stratum + 1))
    drawn = first + (_random(stratum, seed) % (after - first).astype(np.uint64)).astype(np.int64)
    return np.where(stratum == 0, 1, drawn)


def _random(numbers: Numbers, seed: int) -> npt.NDArray[np.uint64]:
    """Return 64 random bits for each number.

    Source: Steele et al. 2014, Fast splittable pseudorandom number generators, SplitMix64.
    """
    with np.errstate(over="ignore"):  # all arithmetic is modulo 2**64
        gamma = np.uint64(0x9E3779B97F4A7C15)
        mixed = np.uint64(seed) * np.uint64(0xD1342543DE82EF95) + numbers.astype(np.uint64) * gamma
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        return mixed ^ (mixed >> np.uint64(31))
