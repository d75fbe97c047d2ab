"""Make what `layouts` describes: the tables of a vocabulary, and a thread's workspace."""

from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from llm_tokenizer import unicode_classes
from llm_tokenizer.compiled import kernels
from llm_tokenizer.compiled.layouts import (
    ALL,
    BATCH_BYTES,
    FAR_BITS,
    FAR_ENTRY,
    ID_BITS,
    LETTER,
    NEAR_BITS,
    NEAR_LONGEST,
    NO_KEY,
    NO_TOKEN,
    NUMBER,
    OTHER,
    PLACE_BITS,
    SPACE,
    TAIL_BYTES,
    Tables,
    Tokens,
    Workspace,
)
from llm_tokenizer.compiled.merge import MANY, hash_pairs
from llm_tokenizer.vocabulary import Vocabulary

Array = npt.NDArray[Any]

LINE, HUGE_PAGE = 64, 2**21  # bytes


class Arena:
    """Arrays of zeros that begin at whole cache lines, all in one piece of memory.

    Where the system grants huge pages, for which numpy asks, the processor finds a place in a large
    table sooner; so the first array begins at the start of a page.
    """

    def __init__(self, sizes: dict[str, int]) -> None:
        """Reserve so many bytes for each array."""
        room = sum(-(-size // LINE) * LINE for size in sizes.values())
        self._memory = np.zeros(room + HUGE_PAGE, np.uint8)
        place = -self._memory.ctypes.data % HUGE_PAGE
        self.arrays: dict[str, Array] = {}
        for name, size in sizes.items():
            self.arrays[name] = self._memory[place : place + size]
            place += -(-size // LINE) * LINE

    @property
    def addresses(self) -> dict[str, int]:
        """Where each array begins."""
        return {name: array.ctypes.data for name, array in self.arrays.items()}


class VocabularyTables(NamedTuple):
    """What a vocabulary comes to for encoding."""

    addresses: Tables
    arena: Arena  # which has the arrays that lie there
    near: Array  # a near cache that holds the tokens, for a workspace to begin with


@lru_cache(maxsize=4)
def vocabulary_tables(vocabulary: Vocabulary) -> VocabularyTables:
    """Return the tables of a vocabulary, all of whose ids and ranks are below NO_TOKEN."""
    ids = vocabulary.token_ids
    pages, classes = class_tables()
    arrays = {
        "pages": pages,
        "classes": classes,
        "byte_ids": np.array([ids[bytes([byte])] for byte in range(256)], np.uint32),
        "byte_pairs": _byte_pairs(vocabulary),
        "merges": _merges(vocabulary),
        "key_masks": _key_masks(),
    }
    slot_bits = max(6, (4 * len(vocabulary.merges) // 3).bit_length())
    while True:
        bucket_bits = slot_bits - 2
        sizes = {name: array.nbytes for name, array in arrays.items()}
        arena = Arena(sizes | {"displacements": 2 * 2**bucket_bits, "slots": 4 * 2**slot_bits})
        for name, array in arrays.items():
            arena.arrays[name][:] = array.reshape(-1).view(np.uint8)
        tables = Tables(**arena.addresses, bucket_shift=64 - bucket_bits, slot_shift=64 - slot_bits)
        if _fill_slots(arrays["merges"], arena.arrays["slots"].view(np.uint32), tables):
            return VocabularyTables(tables, arena, _near_of_tokens(vocabulary, tables))
        slot_bits += 1


class ThreadMemory:
    """The memory of one thread, some 12 MiB."""

    def __init__(self, near: Array) -> None:
        """Begin with a near cache, which is copied."""
        self._arena = Arena(
            {
                "near": near.nbytes,
                "far": 2 * FAR_ENTRY * 2**FAR_BITS,
                "batch": BATCH_BYTES,
                "tail": TAIL_BYTES,
                "ids": 4 * (MANY + 2),
                "keys": 4 * MANY,
                "made": 4 * LINE,
                "lowest": 4 * MANY // 64,
                "live": 8 * MANY // 64,
            }
        )
        self.near = self._arena.arrays["near"]
        self.near[:] = near
        self.addresses = Workspace(**self._arena.addresses)


@lru_cache(maxsize=4)
def token_tables(vocabulary: Vocabulary) -> tuple[Tokens, list[Array]]:
    """Return where the bytes of all tokens lie, and the arrays that lie there."""
    by_id = vocabulary.bytes_of_id
    ids = np.fromiter(by_id, np.int64, len(by_id))
    sizes = np.fromiter(map(len, by_id.values()), np.int64, len(by_id))
    lengths = np.full(vocabulary.largest_id + 1, NO_TOKEN, np.uint32)
    lengths[ids] = sizes
    starts = np.zeros(vocabulary.largest_id + 1, np.uint32)
    starts[ids] = np.cumsum(sizes) - sizes
    content = np.frombuffer(b"".join(by_id.values()) + bytes(16), np.uint8)
    arrays: list[Array] = [content, starts, lengths]
    return Tokens(*(array.ctypes.data for array in arrays)), arrays


@cache
def class_tables() -> tuple[Array, Array]:
    """Return the row of each 256 code points, and the rows, which many share; row 0 is ASCII's."""
    classes = np.full(2**21, OTHER, np.uint8)  # what four bytes of UTF-8 could say
    for name, kind in (("letter", LETTER), ("number", NUMBER), ("space", SPACE)):
        for first, last in unicode_classes.ranges(name):
            classes[first : last + 1] = kind
    rows: dict[bytes, int] = {}
    pages = [rows.setdefault(row.tobytes(), len(rows)) for row in classes.reshape(-1, 256)]
    return np.array(pages, np.uint8), np.frombuffer(b"".join(rows), np.uint8)


def _merges(vocabulary: Vocabulary) -> Array:
    ids, number = vocabulary.token_ids, len(vocabulary.merges)
    lefts = np.fromiter((ids[left] for left, _ in vocabulary.merges), np.uint64, number)
    rights = np.fromiter((ids[right] for _, right in vocabulary.merges), np.uint64, number)
    made = np.fromiter((ids[left + right] for left, right in vocabulary.merges), np.uint64, number)
    merges = lefts << np.uint64(2 * ID_BITS) | rights << np.uint64(ID_BITS) | made
    return merges if number else np.array([ALL])  # a pair of no tokens, as a table is never empty


def _byte_pairs(vocabulary: Vocabulary) -> Array:
    pairs = np.full(2**16, NO_KEY, np.uint64)
    for rank, (left, right) in enumerate(vocabulary.merges):
        if len(left) == len(right) == 1:
            made = vocabulary.token_ids[left + right]
            pairs[left[0] << 8 | right[0]] = made << 32 | rank << PLACE_BITS
    return pairs


def _key_masks() -> Array:
    sizes = range(NEAR_LONGEST + 1)
    words = [(2 ** (8 * min(k, 8)) - 1, 2 ** (8 * max(k - 8, 0)) - 1, k << 56, 0) for k in sizes]
    return np.array(words, np.uint64)


def _fill_slots(merges: Array, slots: Array, tables: Tables) -> bool:
    """Enter all merges in the slots; of two of one pair the last counts."""
    pairs = merges >> np.uint64(ID_BITS)
    _, last = np.unique(pairs[::-1], return_index=True)
    ranks = len(merges) - 1 - last
    buckets = (hash_pairs(pairs[ranks]) >> np.uint64(tables.bucket_shift)).astype(np.int64)
    sizes = np.bincount(buckets)
    order = np.lexsort((buckets, -sizes[buckets]))
    in_order, buckets = ranks[order].astype(np.uint32), buckets[order]
    bounds = np.concatenate([[0], 1 + np.flatnonzero(np.diff(buckets)), [len(order)]])
    slots[:] = NO_KEY
    placed = kernels.fill_slots(in_order.ctypes.data, bounds.ctypes.data, len(bounds) - 1, tables)
    slots[slots == NO_KEY] = 0  # the first merge, of which it turns out that it is another
    return bool(placed)


def _near_of_tokens(vocabulary: Vocabulary, tables: Tables) -> Array:
    """Return a near cache that holds tokens, the earliest learned in the first places."""
    memory = ThreadMemory(np.zeros(LINE * 2**NEAR_BITS, np.uint8))
    ids = vocabulary.token_ids
    tokens = sorted((token for token in ids if _is_text(token)), key=ids.__getitem__, reverse=True)
    bounds = np.cumsum([0, *map(len, tokens)])
    text = np.frombuffer(b"".join(tokens) + bytes(LINE), np.uint8)
    out, ends = np.empty(bounds[-1] + 8, np.uint32), np.empty(len(tokens), np.int64)
    words = np.array([*tables, *memory.addresses, vocabulary.id_bytes], np.int64)
    kernels.encode(
        text.ctypes.data, bounds.ctypes.data, ends.ctypes.data, len(tokens), -1,
        0, text.ctypes.data, out.ctypes.data, words.ctypes.data,
    )  # fmt: skip
    return memory.near.copy()  # so that the rest of the memory is freed


def _is_text(token: bytes) -> bool:
    try:
        token.decode()
    except UnicodeDecodeError:
        return False
    return len(token) <= NEAR_LONGEST
