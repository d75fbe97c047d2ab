"""Byte-pair merging: the ids of a piece's bytes to the ids of its tokens.

`merge` is the definition; `merge_with_heap` finds the same in less time where a piece is long.

Source: Sennrich et al. 2016, arXiv:1508.07909, byte-pair encoding.
"""

import heapq
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

Pair = tuple[int, int]
JOINED = -1  # no id


class Merge(NamedTuple):
    """What becomes of a pair of neighbouring tokens: merges of lower rank come first."""

    rank: int
    id: int


def merge(ids: Sequence[int], merges: Mapping[Pair, Merge]) -> list[int]:
    """Join neighbours until no pair of them has a merge: lowest rank first, then leftmost.

    Each step searches all neighbours, so n ids take O(n**2) time.

    >>> merge([0, 1, 2, 1, 2], {(1, 2): Merge(rank=0, id=3), (0, 3): Merge(rank=1, id=4)})
    [4, 3]
    """
    tokens = list(ids)
    while found := [
        (merges[pair], place) for place, pair in enumerate(pairwise(tokens)) if pair in merges
    ]:
        joined, place = min(found)
        tokens[place : place + 2] = [joined.id]
    return tokens


def merge_with_heap(ids: Sequence[int], merges: Mapping[Pair, Merge]) -> list[int]:
    """Return what `merge` returns, in O(n log n) time for n ids.

    The pairs wait in a heap and the tokens form a linked list, so that even a megabyte of one
    letter, where every pair merges, takes seconds.

    >>> merge_with_heap([1, 1, 1, 1, 1], {(1, 1): Merge(rank=0, id=2)})
    [2, 2, 1]
    """
    tokens = list(ids)  # JOINED where a token has become part of the one before it
    end = len(tokens)
    after, before = list(range(1, end + 1)), list(range(-1, end - 1))
    waiting = [
        (merges[pair], place, pair) for place, pair in enumerate(pairwise(ids)) if pair in merges
    ]
    heapq.heapify(waiting)

    def wait(left: int, right: int) -> None:
        if left >= 0 and right < end:
            pair = (tokens[left], tokens[right])
            if pair in merges:
                heapq.heappush(waiting, (merges[pair], left, pair))

    while waiting:
        joined, left, pair = heapq.heappop(waiting)
        right = after[left]
        if right == end or (tokens[left], tokens[right]) != pair:
            continue  # one of the two has been joined to another token since
        tokens[left], tokens[right] = joined.id, JOINED
        after[left] = after[right]
        if after[left] < end:
            before[after[left]] = left
        wait(before[left], left)
        wait(left, after[left])
    return [token for token in tokens if token != JOINED]
