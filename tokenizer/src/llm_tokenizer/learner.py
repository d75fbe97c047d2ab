"""Learn the merges of counted pieces: as `counting`, but without counting anew for each merge.

The loop is Python; the two steps that take the time are compiled, in `compiled.pair_index`.
"""

from collections.abc import Iterator

import numpy as np

from llm_tokenizer.compiled.pair_index import (
    NONE,
    PAIR,
    PLACE,
    QUEUED,
    SIZES,
    Array,
    PairIndex,
    fill_table,
    join,
    link_all,
    most_frequent,
)
from llm_tokenizer.vocabulary import BYTE_ORDER

BYTE_PAIRS = 2**16  # there are no more pairs at first
SLOTS_A_PAIR = 4  # of the hash table, so that three in four are empty


def learn(
    content: Array, bounds: Array, frequencies: Array, room: int, min_frequency: int
) -> Iterator[tuple[bytes, bytes]]:
    """Give the merges in order, as `learn_by_counting` does.

    Args:
        content: uint8 of shape (S,) or longer, the S bytes of all P pieces.
        bounds: int64 of shape (P + 1,): piece k lies from bounds[k] to bounds[k + 1].
        frequencies: int64 of shape (P,), the count of each piece.
        room: Tokens to add to the 256 bytes; fewer if the pairs run out.
        min_frequency: Least count of a pair that is merged, at least 1.
    """
    index = index_of(content[: bounds[-1]], bounds, frequencies)
    tokens = [bytes([byte]) for byte in BYTE_ORDER]  # id -> bytes
    most = len(tokens) + room
    while len(tokens) < most:
        pair, count, ids = most_frequent(index)
        if count < min_frequency:
            return
        left, right = tokens[ids >> 32], tokens[ids & 0xFFFFFFFF]
        while not join(pair, len(tokens), index):
            index = _larger(index)
        tokens.append(left + right)
        yield left, right


def index_of(content: Array, bounds: Array, frequencies: Array) -> PairIndex:
    """Return the index of pieces whose tokens are their bytes."""
    index = PairIndex(
        text=_linked(content, bounds),
        frequencies=frequencies,
        pairs=np.empty(2 * BYTE_PAIRS, PAIR),
        table=np.full(2 * BYTE_PAIRS * SLOTS_A_PAIR, NONE),
        queue=np.empty(2 * BYTE_PAIRS, QUEUED),
        sizes=np.zeros(1, SIZES),
    )
    link_all(index)
    return index


def _linked(content: Array, bounds: Array) -> Array:
    """Return the pieces as one PLACE a byte, each linked to its neighbours."""
    byte_ids = np.empty(256, np.int32)
    byte_ids[np.frombuffer(BYTE_ORDER, np.uint8)] = np.arange(256)
    text = np.empty(len(content), PLACE)
    text["token"] = byte_ids[content]
    text["before"] = np.arange(-1, len(content) - 1)
    text["after"] = np.arange(1, len(content) + 1)
    text["before"][bounds[:-1]] = text["after"][bounds[1:] - 1] = NONE
    text["pair"] = NONE
    text["piece"] = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    return text


def _larger(index: PairIndex) -> PairIndex:
    """Return the index with twice the room for pairs."""
    index = index._replace(
        pairs=np.concatenate([index.pairs, np.empty_like(index.pairs)]),
        table=np.full(2 * len(index.table), NONE),
        queue=np.concatenate([index.queue, np.empty_like(index.queue)]),
    )
    fill_table(index)
    return index
