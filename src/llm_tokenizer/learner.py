"""Learn merges from counted pieces, compiled by Numba; `trainer` says what is learned.

The pieces lie one after the other, a token at each byte. A merge writes the new token over the left
of its two and takes the right one out of the chain of neighbours. Every pair has its count and a
chain of the places where it came up; a merge corrects the counts around its places, and nothing is
counted anew. The most frequent pair comes out of a heap; an entry that is out of date is put back
where it belongs when it comes up.
"""

import heapq

import numpy as np
from numba import njit

from llm_tokenizer.compiled import MIX_1, hash_bytes, kept_njit

NONE = np.int32(-1)
BYTES, BYTE_PAIRS = 2**8, 2**16


@njit
def _slot_of_pair(left, right, table, lefts, rights):
    """Return where the pair's number stands in the hash table, or would stand."""
    mask = np.uint64(len(table) - 1)
    mixed = (np.uint64(left) << np.uint64(32) | np.uint64(right)) * MIX_1
    slot = mixed >> np.uint64(24) & mask
    while table[slot] != NONE and (lefts[table[slot]] != left or rights[table[slot]] != right):
        slot = slot + np.uint64(1) & mask
    return slot


@njit
def _slot_of_token(place, length, content, table, places, lengths):
    """Return where the id of the token with the bytes at `place` stands, or would stand."""
    mask = np.uint64(len(table) - 1)
    slot = hash_bytes(np.int64(content.ctypes.data) + place, length) & mask
    while table[slot] != NONE:
        other = table[slot]
        if lengths[other] == length:
            k = 0
            while k < length and content[places[other] + k] == content[place + k]:
                k += 1
            if k == length:
                break
        slot = slot + np.uint64(1) & mask
    return slot


@njit
def _find(left, right, table, lefts, rights, counts, queued, lasts, pairs):
    """Return the number of a pair; one that is new gets the number pairs[0], and no occurrences."""
    slot = _slot_of_pair(left, right, table, lefts, rights)
    if table[slot] == NONE:
        number = pairs[0]
        table[slot] = number
        lefts[number], rights[number] = left, right
        counts[number], queued[number], lasts[number] = 0, 0, NONE
        pairs[0] += 1
    return table[slot]


@njit
def _append(pair, place, firsts, lasts, places, nexts, used):
    """Put a place at the end of a pair's chain."""
    link = used[0]
    used[0] += 1
    places[link], nexts[link] = place, NONE
    if lasts[pair] == NONE:
        firsts[pair] = link
    else:
        nexts[lasts[pair]] = link
    lasts[pair] = link


@njit
def _stands_at(place, left, right, tokens, after):
    return tokens[place] == left and after[place] != NONE and tokens[after[place]] == right


@njit
def _larger(array, size):
    """Return a copy with room for `size` entries, or the array itself if it has."""
    if size <= len(array):
        return array
    larger = np.empty(max(size, 2 * len(array)), array.dtype)
    larger[: len(array)] = array
    return larger


@njit
def _larger_table(table, lefts, rights, pairs, most):
    """Return a table of which `most` pairs fill a quarter or less: this one, or a larger."""
    if 4 * most <= len(table):
        return table
    slots = len(table)
    while slots < 4 * most:
        slots *= 2
    larger = np.full(slots, NONE, np.int32)
    for pair in range(pairs):
        larger[_slot_of_pair(lefts[pair], rights[pair], larger, lefts, rights)] = pair
    return larger


@kept_njit
def learn(content, tokens, bounds, frequencies, room, min_frequency, progress):
    """Return the merges in order, an array of left and right ids.

    Args:
        content: uint8, the bytes of all pieces, and 8 more.
        tokens: int32, the ids of these bytes, 0 to 255; overwritten.
        bounds: int64: piece k lies from bounds[k] to bounds[k + 1].
        frequencies: int64, the count of each piece.
        room: How many tokens to add to the 256, if there are as many.
        min_frequency: The least count of a pair that is merged, at least 1.
        progress: int64 of two. The first tells how many tokens are added so far; to end early,
            another thread may set the second.
    """
    size = bounds[-1]
    piece_of, before, after = (
        np.empty(size, np.int32),
        np.empty(size, np.int32),
        np.empty(size, np.int32),
    )
    # A token beyond the bytes: where its bytes can be read, and how many they are.
    token_places = np.empty(BYTES + room, np.int32)
    token_lengths = np.ones(BYTES + room, np.int32)
    token_table = np.full(2 ** int(np.ceil(np.log2(2 * (BYTES + room)))), NONE, np.int32)
    # Pairs, by number: there are no more than BYTE_PAIRS at first.
    pairs, table = np.zeros(1, np.int64), np.full(8 * BYTE_PAIRS, NONE, np.int32)
    lefts, rights = np.empty(BYTE_PAIRS, np.int32), np.empty(BYTE_PAIRS, np.int32)
    counts = np.empty(BYTE_PAIRS, np.int64)
    queued = np.empty(BYTE_PAIRS, np.int64)  # the count with which it was put in the heap last
    # The chains of places where each came up.
    firsts, lasts = np.empty(BYTE_PAIRS, np.int32), np.empty(BYTE_PAIRS, np.int32)
    used = np.zeros(1, np.int64)
    places, nexts = np.empty(size + 1, np.int32), np.empty(size + 1, np.int32)

    for piece in range(len(frequencies)):
        for place in range(bounds[piece], bounds[piece + 1]):
            piece_of[place], before[place], after[place] = piece, place - 1, place + 1
        before[bounds[piece]] = after[bounds[piece + 1] - 1] = NONE
        for place in range(bounds[piece], bounds[piece + 1] - 1):
            left, right = tokens[place], tokens[place + 1]
            pair = _find(left, right, table, lefts, rights, counts, queued, lasts, pairs)
            counts[pair] += frequencies[piece]
            _append(pair, place, firsts, lasts, places, nexts, used)
    heap = [(-counts[pair], lefts[pair], rights[pair], pair) for pair in range(pairs[0])]
    heapq.heapify(heap)
    queued[:] = counts

    known = BYTES
    merges, changed = [(NONE, NONE)], [np.int64(0)]
    while len(heap) > 0 and known < BYTES + room and progress[1] == 0:
        negative, left, right, pair = heapq.heappop(heap)
        if -negative != counts[pair]:
            if counts[pair] > 0:
                heapq.heappush(heap, (-counts[pair], left, right, pair))
                queued[pair] = counts[pair]
            continue
        if counts[pair] < min_frequency:
            break
        merges.append((left, right))
        link, number, example = firsts[pair], 0, NONE
        while link != NONE:
            if _stands_at(places[link], left, right, tokens, after):
                number, example = number + 1, places[link]
            link = nexts[link]
        # The token may be there already, as what another merge makes.
        length = token_lengths[left] + token_lengths[right]
        slot = _slot_of_token(example, length, content, token_table, token_places, token_lengths)
        if token_table[slot] == NONE:
            token_table[slot], token_places[known], token_lengths[known] = known, example, length
            known += 1
        token = token_table[slot]
        # Each place can bring up two new pairs.
        most, links = pairs[0] + 2 * number, used[0] + 2 * number
        table = _larger_table(table, lefts, rights, pairs[0], most)
        lefts, rights, counts = _larger(lefts, most), _larger(rights, most), _larger(counts, most)
        firsts, lasts, queued = _larger(firsts, most), _larger(lasts, most), _larger(queued, most)
        places, nexts = _larger(places, links), _larger(nexts, links)
        changed.clear()
        link = firsts[pair]
        lasts[pair] = NONE
        while link != NONE:
            place, link = places[link], nexts[link]
            # "aaa" merges at its first two, whichever the chain comes to first.
            while left == right and before[place] != NONE and tokens[before[place]] == left:
                place = before[place]
            while place != NONE and _stands_at(place, left, right, tokens, after):
                second = after[place]
                weight, first, third = frequencies[piece_of[place]], before[place], after[second]
                tokens[place], tokens[second], after[place] = token, NONE, third
                if first != NONE:
                    gone = _find(
                        tokens[first], left, table, lefts, rights, counts, queued, lasts, pairs
                    )
                    counts[gone] -= weight
                    new = _find(
                        tokens[first], token, table, lefts, rights, counts, queued, lasts, pairs
                    )
                    counts[new] += weight
                    _append(new, first, firsts, lasts, places, nexts, used)
                    changed.append(new)
                if third != NONE:
                    before[third] = place
                    gone = _find(
                        right, tokens[third], table, lefts, rights, counts, queued, lasts, pairs
                    )
                    counts[gone] -= weight
                    new = _find(
                        token, tokens[third], table, lefts, rights, counts, queued, lasts, pairs
                    )
                    counts[new] += weight
                    _append(new, place, firsts, lasts, places, nexts, used)
                    changed.append(new)
                place = third
        counts[pair] = 0
        for new in changed:
            if counts[new] > 0 and queued[new] != counts[new]:
                heapq.heappush(heap, (-counts[new], lefts[new], rights[new], new))
                queued[new] = counts[new]
        progress[0] = known - BYTES
    return np.array(merges[1:]) if len(merges) > 1 else np.empty((0, 2), np.int32)
