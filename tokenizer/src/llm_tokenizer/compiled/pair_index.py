"""Where each pair of neighbouring tokens occurs, and which pair is the most frequent. Compiled.

The example is the piece "abab", which occurs once, and "ab", which occurs twice. Their bytes lie
one after the other, and each is a place. Tokens are linked to their neighbours in the piece:

    place     0   1   2   3     4   5
    token     a = b = a = b     a = b

The places where one pair begins are linked, too (`next`, `previous`), the latest linked first. A
pair has its count, in which a place counts as often as its piece occurs:

    pair      count    places
    a b           4    4 -> 2 -> 0
    b a           1    1

To join "a b" to the token X, `join` visits its places in turn. At each, up to three pairs end and
are unlinked: the joined one and those on both sides. Two new ones, on both sides of X, are linked.
No other place of the text is searched, and no pair is counted anew. Afterwards:

    place     0       2         4
    token     X   =   X         X

    pair      count    places
    a b           0
    b a           0
    b X           0             it was there while place 2 was joined and place 0 was not
    X X           1    0

The queue is a heap with one entry for each pair, the most frequent on top. Only pairs with the new
token gain places, and they are queued after the join; so the count of a queued pair never grows.
Its entry stays where it is, and is corrected when it comes to the top.

Source: Larsson and Moffat 1999, Offline dictionary-based compression, which links the places of a
pair like this.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from llm_tokenizer.compiled.jit import inlined, kept

Array = npt.NDArray[Any]
Int = int | np.int64  # the same to Numba

NONE = np.int32(-1)  # no place, no pair
MIX = 0x4F1BBCDCBFA53E0B  # 2**63 / golden ratio, odd: for hashing (Knuth, TAOCP vol. 3, 6.4)

PLACE = np.dtype(
    [
        ("token", np.int32),  # the id of the token that begins there
        ("before", np.int32),  # where the token before it in the piece begins, or NONE
        ("after", np.int32),  # where the token after it begins, or NONE
        ("pair", np.int32),  # the index of the pair that begins there, or NONE
        ("next", np.int32),  # other places where this pair begins, or NONE
        ("previous", np.int32),
        ("piece", np.int32),  # the index of the piece that the place is in
    ]
)
PAIR = np.dtype(
    [
        ("ids", np.int64),  # left id << 32 | right id, so that lower ids make a lower number
        ("count", np.int64),
        ("first", np.int64),  # a place where it begins, or NONE
    ]
)
QUEUED = np.dtype([("count", np.int64), ("ids", np.int64), ("pair", np.int64)])
SIZES = np.dtype([("pairs", np.int64), ("queue", np.int64)])


class PairIndex(NamedTuple):
    """The tables; `pairs`, `table` and `queue` have room for more pairs than there are."""

    text: Array  # PLACE, one for each byte of all pieces
    frequencies: Array  # int64, piece -> how often it occurs
    pairs: Array  # PAIR
    table: Array  # int32: hash table of indices of `pairs`, NONE where empty
    queue: Array  # QUEUED: heap of all pairs, the most frequent first
    sizes: Array  # one SIZES: how many entries of `pairs` and `queue` are in use


@kept
def link_all(index: PairIndex) -> None:
    """Link every pair of the text, in which the tokens are linked."""
    for place in range(len(index.text)):
        if index.text[place].after != NONE:
            _link(place, index)
    _queue_new(index)


@kept
def most_frequent(index: PairIndex) -> tuple[int, int, int]:
    """Return the index, count and ids of the most frequent pair, of equals that of lower ids.

    The count is 0 if no pair is left.
    """
    queue, size = index.queue, index.sizes[0].queue
    if size == 0:
        return 0, 0, 0
    while queue[0].count != index.pairs[queue[0].pair].count:
        _sift_down(index.pairs[queue[0].pair].count, queue[0].ids, queue[0].pair, queue, size)
    return queue[0].pair, queue[0].count, queue[0].ids


@kept
def join(pair: int, token: int, index: PairIndex) -> bool:
    """Join a pair to `token` wherever it occurs; return False if the tables are full.

    Call it again then, with larger tables; it continues where it stopped.
    """
    text, pairs, sizes = index.text, index.pairs, index.sizes[0]
    while pairs[pair].first != NONE:
        place = _start_of_run(pairs[pair].first, text)
        while place != NONE and text[place].pair == pair:
            if sizes.pairs + 2 > len(pairs):
                return False
            _join_at(place, token, index)
            place = np.int64(text[place].after)
    _queue_new(index)
    return True


@kept
def fill_table(index: PairIndex) -> None:
    """Enter all pairs in an empty hash table."""
    for pair in range(index.sizes[0].pairs):
        index.table[_slot(index.pairs[pair].ids, index)] = pair


@inlined
def _start_of_run(place: Int, text: Array) -> Int:
    """Return the first place of a run such as "aaa", whose leftmost pair is joined first."""
    before = np.int64(text[place].before)
    while before != NONE and text[before].pair == text[place].pair:
        place, before = before, np.int64(text[before].before)
    return place


@inlined
def _join_at(place: Int, token: int, index: PairIndex) -> None:
    """Join the pair at a place, and link the pairs that the new token makes."""
    text = index.text
    here = text[place]
    before, second = np.int64(here.before), np.int64(here.after)
    after = np.int64(text[second].after)
    _unlink(place, index)
    here.token = token
    here.after = after
    if before != NONE:
        _unlink(before, index)
        _link(before, index)
    if after != NONE:
        _unlink(second, index)
        text[after].before = place
        _link(place, index)


@inlined
def _link(place: Int, index: PairIndex) -> None:
    """Add a place to those of the pair that begins there."""
    text = index.text
    here = text[place]
    number = _pair_of(np.int64(here.token) << 32 | text[here.after].token, index)
    pair = index.pairs[number]
    here.pair = number
    here.next = pair.first
    here.previous = NONE
    if pair.first != NONE:
        text[pair.first].previous = place
    pair.first = place
    pair.count += index.frequencies[here.piece]


@inlined
def _unlink(place: Int, index: PairIndex) -> None:
    """Take a place from those of its pair."""
    text = index.text
    here = text[place]
    pair = index.pairs[here.pair]
    if here.previous == NONE:
        pair.first = here.next
    else:
        text[here.previous].next = here.next
    if here.next != NONE:
        text[here.next].previous = here.previous
    here.pair = NONE
    pair.count -= index.frequencies[here.piece]


@inlined
def _pair_of(ids: Int, index: PairIndex) -> Int:
    """Return the index of a pair, which is added if it is new."""
    sizes, slot = index.sizes[0], _slot(ids, index)
    if index.table[slot] == NONE:
        new = index.pairs[sizes.pairs]
        new.ids = ids
        new.count = 0
        new.first = NONE
        index.table[slot] = sizes.pairs
        sizes.pairs += 1
    return np.int64(index.table[slot])


@inlined
def _slot(ids: Int, index: PairIndex) -> Int:
    """Return where the hash table has a pair, or has room for it."""
    table, mask = index.table, len(index.table) - 1
    slot = (ids * MIX) >> 24 & mask  # bits 24 and up: both ids change them
    while table[slot] != NONE and index.pairs[table[slot]].ids != ids:
        slot = slot + 1 & mask
    return slot


@inlined
def _queue_new(index: PairIndex) -> None:
    """Put the pairs that have come up since the last call in the queue."""
    queue, sizes = index.queue, index.sizes[0]
    while sizes.queue < sizes.pairs:
        hole, pair = sizes.queue, index.pairs[sizes.queue]
        while hole > 0 and _comes_first(pair.count, pair.ids, queue[(hole - 1) >> 1]):
            queue[hole] = queue[(hole - 1) >> 1]
            hole = (hole - 1) >> 1
        _put(pair.count, pair.ids, sizes.queue, queue[hole])
        sizes.queue += 1


@inlined
def _sift_down(count: int, ids: int, pair: int, queue: Array, size: int) -> None:
    """Replace the top of the heap by an entry, which moves down to where it belongs."""
    hole, below = 0, 1
    while below < size:
        if below + 1 < size and _comes_first(
            queue[below + 1].count, queue[below + 1].ids, queue[below]
        ):
            below += 1
        if _comes_first(count, ids, queue[below]):
            break
        queue[hole] = queue[below]
        hole, below = below, 2 * below + 1
    _put(count, ids, pair, queue[hole])


@inlined
def _comes_first(count: int, ids: int, entry: Any) -> bool:
    return count > entry.count or (count == entry.count and ids < entry.ids)


@inlined
def _put(count: int, ids: int, pair: int, entry: Any) -> None:
    entry.count = count
    entry.ids = ids
    entry.pair = pair
