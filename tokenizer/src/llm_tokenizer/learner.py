"""Learn merges from counted pieces, compiled by Numba; `trainer` says what is learned.

The pieces lie one after the other, a token at each byte. A merge writes the new token over the left
of its two and takes the right one out of the linked list of neighbours. Each pair has its count and
a linked list of the places where it has come up, some of them out of date; a merge corrects the
counts around its places, and nothing is counted anew. The most frequent pair comes out of a heap
with lazy deletion.
"""

import heapq

import numpy as np
from numba import njit

from llm_tokenizer.compiled.jit import kept
from llm_tokenizer.compiled.layouts import MIX_1
from llm_tokenizer.compiled.pieces import hash_bytes

NONE = np.int32(-1)
BYTES, BYTE_PAIRS = 2**8, 2**16

# A place of the text: one for each byte of each distinct piece.
PLACE = np.dtype(
    [
        ("token", np.int32),  # the id of the token that begins there, NONE inside of one
        ("before", np.int32),  # where the token before it in the piece begins, or NONE
        ("after", np.int32),  # where the token after it begins, or NONE
        ("piece", np.int32),
    ]
)
PAIR = np.dtype(
    [
        ("left", np.int32),
        ("right", np.int32),
        ("count", np.int64),
        ("queued", np.int64),  # the count with which it was put in the heap last
        ("first", np.int32),  # the first and the last link to its places
        ("last", np.int32),  # NONE for no link
    ]
)
LINK = np.dtype([("place", np.int32), ("next", np.int32)])  # next: a link, or NONE
# A token beyond the bytes: where in the pieces its bytes can be read, and how many they are.
TOKEN = np.dtype([("place", np.int32), ("length", np.int32)])


@kept
def learn(content, byte_ids, bounds, frequencies, room, min_frequency, progress):
    """Return the merges in order, int32 of shape (merges, 2): left and right ids.

    Args:
        content: uint8 of shape (S + 8,), the S bytes of all P pieces, and 8 more.
        byte_ids: int32 of shape (256,), byte -> id, 0 to 255.
        bounds: int64 of shape (P + 1,): piece k lies from bounds[k] to bounds[k + 1].
        frequencies: int64 of shape (P,), the count of each piece.
        room: How many tokens to add to the 256; fewer if the pairs run out.
        min_frequency: The least count of a pair that is merged, at least 1.
        progress: int64 of shape (2,). The first tells how many tokens are added so far; to end
            early, another thread may set the second.
    """
    text = _linked(content, byte_ids, bounds)
    # There are no more than BYTE_PAIRS pairs at first. used: how many pairs, how many links.
    pairs, links = np.empty(BYTE_PAIRS, PAIR), np.empty(len(text), LINK)
    table, used = np.full(8 * BYTE_PAIRS, NONE, np.int32), np.zeros(2, np.int64)
    for place in range(len(text)):
        if text[place].after != NONE:
            left, right = text[place].token, text[place + 1].token
            _add(place, left, right, text, frequencies, pairs, table, links, used)
    heap = [(-pairs[k].count, pairs[k].left, pairs[k].right, k) for k in range(used[0])]
    heapq.heapify(heap)
    for k in range(used[0]):
        pairs[k].queued = pairs[k].count

    known, tokens = BYTES, np.empty(BYTES + room, TOKEN)
    for k in range(BYTES):
        tokens[k].length = 1
    token_table = np.full(2 ** int(np.ceil(np.log2(2 * (BYTES + room)))), NONE, np.int32)
    # Numba takes the type of a list from its first entry.
    merges, changed = [(NONE, NONE)], [np.int64(0)]
    while len(heap) > 0 and known < BYTES + room and progress[1] == 0:
        negative, left, right, pair = heapq.heappop(heap)
        if -negative != pairs[pair].count:
            _enqueue(pair, pairs, heap)
            continue
        if pairs[pair].count < min_frequency:
            break
        merges.append((left, right))
        number, example = _standing(pairs[pair], text, links)
        token = _token(example, left, right, known, content, tokens, token_table)
        known += token == known
        # Each place can bring up two new pairs.
        pairs, links = _larger(pairs, used[0] + 2 * number), _larger(links, used[1] + 2 * number)
        table = _larger_table(table, pairs, used[0], used[0] + 2 * number)
        changed.clear()
        _merge(pair, token, text, frequencies, pairs, table, links, used, changed)
        for other in changed:
            _enqueue(other, pairs, heap)
        progress[0] = known - BYTES
    return np.array(merges[1:]) if len(merges) > 1 else np.empty((0, 2), np.int32)


@njit
def _linked(content, byte_ids, bounds):
    """Return the text, whose tokens are the bytes."""
    text = np.empty(bounds[-1], PLACE)
    for piece in range(len(bounds) - 1):
        for place in range(bounds[piece], bounds[piece + 1]):
            text[place].token = byte_ids[content[place]]
            text[place].before, text[place].after = place - 1, place + 1
            text[place].piece = piece
        text[bounds[piece]].before = text[bounds[piece + 1] - 1].after = NONE
    return text


@njit
def _slot(left, right, pairs, table):
    """Return where a pair's index stands in the hash table, or would stand."""
    mask = np.uint64(len(table) - 1)
    mixed = (np.uint64(left) << np.uint64(32) | np.uint64(right)) * MIX_1
    slot = (mixed >> np.uint64(24)) & mask
    while table[slot] != NONE:
        if pairs[table[slot]].left == left and pairs[table[slot]].right == right:
            break
        slot = (slot + np.uint64(1)) & mask
    return slot


@njit
def _add(place, left, right, text, frequencies, pairs, table, links, used):
    """Count a pair that has come up at a place; return its index."""
    slot = _slot(left, right, pairs, table)
    if table[slot] == NONE:
        table[slot] = used[0]
        new = pairs[used[0]]
        new.left, new.right, new.count, new.queued, new.last = left, right, 0, 0, NONE
        used[0] += 1
    pair = pairs[table[slot]]
    pair.count += frequencies[text[place].piece]
    link = used[1]
    links[link].place, links[link].next = place, NONE
    if pair.last == NONE:
        pair.first = link
    else:
        links[pair.last].next = link
    pair.last = link
    used[1] += 1
    return table[slot]


@njit
def _remove(place, left, right, text, frequencies, pairs, table):
    """Discount a pair that stands at a place no longer."""
    pair = pairs[table[_slot(left, right, pairs, table)]]
    pair.count -= frequencies[text[place].piece]


@njit
def _enqueue(index, pairs, heap):
    """Put a pair in the heap, if it is not there with the count that it has."""
    pair = pairs[index]
    if pair.count > 0 and pair.queued != pair.count:
        pair.queued = pair.count
        heapq.heappush(heap, (-pair.count, pair.left, pair.right, np.int64(index)))


@njit
def _stands_at(place, left, right, text):
    after = text[place].after
    return text[place].token == left and after != NONE and text[after].token == right


@njit
def _standing(pair, text, links):
    """Return at how many places a pair stands, and one of them."""
    number, example, link = 0, NONE, pair.first
    while link != NONE:
        if _stands_at(links[link].place, pair.left, pair.right, text):
            number, example = number + 1, links[link].place
        link = links[link].next
    return number, example


@njit
def _token(place, left, right, new, content, tokens, table):
    """Return the id of the token that a pair at a place makes: `new`, or one that is there already.

    The same bytes can be the outcome of several merges.
    """
    length = tokens[left].length + tokens[right].length
    mask = np.uint64(len(table) - 1)
    slot = hash_bytes(np.int64(content.ctypes.data) + place, length) & mask
    while table[slot] != NONE:
        other = tokens[table[slot]]
        k = 0 if other.length == length else length + 1
        while k < length and content[other.place + k] == content[place + k]:
            k += 1
        if k == length:
            return np.int64(table[slot])
        slot = (slot + np.uint64(1)) & mask
    table[slot] = new
    tokens[new].place, tokens[new].length = place, length
    return new


@njit
def _merge(index, token, text, frequencies, pairs, table, links, used, changed):
    """Merge a pair wherever it stands; append the pairs that come up to `changed`."""
    left, right, link = pairs[index].left, pairs[index].right, pairs[index].first
    pairs[index].last = NONE
    while link != NONE:
        place, link = links[link].place, links[link].next
        # Of "aaa" the first two merge, whichever place is listed first.
        while left == right:
            before = text[place].before
            if before == NONE or text[before].token != left:
                break
            place = before
        while place != NONE and _stands_at(place, left, right, text):
            before, second = text[place].before, text[place].after
            after = text[second].after
            text[place].token, text[place].after, text[second].token = token, after, NONE
            if before != NONE:
                other = text[before].token
                _remove(before, other, left, text, frequencies, pairs, table)
                changed.append(
                    _add(before, other, token, text, frequencies, pairs, table, links, used)
                )
            if after != NONE:
                text[after].before = place
                other = text[after].token
                _remove(place, right, other, text, frequencies, pairs, table)
                changed.append(
                    _add(place, token, other, text, frequencies, pairs, table, links, used)
                )
            place = after
    pairs[index].count = 0


@njit
def _larger(array, size):
    """Return a copy with room for `size` entries, or the array itself if it has."""
    if size <= len(array):
        return array
    larger = np.empty(max(size, 2 * len(array)), array.dtype)
    larger[: len(array)] = array
    return larger


@njit
def _larger_table(table, pairs, number, most):
    """Return a table of `number` pairs of which `most` fill a quarter or less: this or a larger."""
    slots = len(table)
    while slots < 4 * most:
        slots *= 2
    if slots == len(table):
        return table
    larger = np.full(slots, NONE, np.int32)
    for k in range(number):
        larger[_slot(pairs[k].left, pairs[k].right, pairs, larger)] = k
    return larger
