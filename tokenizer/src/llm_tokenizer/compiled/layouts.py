"""The tables and the memory that compiled functions read and write, as addresses.

`memory` makes them. A word is 64 bits, an entry of a table as many as its line says.
"""

from typing import Any, NamedTuple

import numpy as np

from llm_tokenizer.compiled.jit import inlined

U = np.uint64
signed: Any = np.int64  # any kind of whole number to mypy, where Numba has one
ZERO, ONE, ALL = U(0), U(1), U(2**64 - 1)
OTHER, LETTER, NUMBER, SPACE = range(4)

ID_BITS = 21  # of a token id and of a rank
TAG_BITS = 32 - ID_BITS  # of a hash: a rank and a tag fit 32 bits
PLACE_BITS = 32 - ID_BITS  # of a place in a piece: a rank and a place fit 32 bits
ID_MASK, TAG_MASK = U(2**ID_BITS - 1), U(2**TAG_BITS - 1)
NO_TOKEN = np.uint32(2**ID_BITS - 1)
NO_KEY = np.uint32(2**32 - 1)  # of a pair that has no merge; while slots are filled, a free one
GAVE_UP = -1  # in place of an address

# Pieces are found and encoded in batches. One is full at BATCH pieces; the block that fills it may
# bring up to 64 more, and the start of the piece after them ends it.
BATCH = 64
ENTRY = 32  # bytes of a piece in the batch: its start, and 3 words of what was looked ahead
BATCH_BYTES = ENTRY * (BATCH + 64 + 1)

# A text's last bytes are read in a copy, the tail, as reads go on for up to 64 + 16 bytes.
MARGIN = 64 + 16
BEFORE_TAIL = 16  # bytes copied from before its first block: a short piece may begin there
TAIL_BYTES = BEFORE_TAIL + MARGIN + 64 + MARGIN  # these, the text, what is read after it

NEAR_BITS, NEAR_LONGEST = 17, 15  # log2 of the sets; bytes of a piece
FAR_BITS, FAR_ENTRY = 14, 64  # log2 of the sets; bytes of an entry

# Odd multipliers for hashing: 2**64 / golden ratio (Knuth, TAOCP vol. 3, 6.4), and the second of
# xxHash's 64-bit primes (Collet).
MIX_1, MIX_2 = U(0x9E3779B97F4A7C15), U(0xC2B2AE3D27D4EB4F)


class Tables(NamedTuple):
    """What a vocabulary and the Unicode classes come to; read-only."""

    pages: int  # code point >> 8 -> row of `classes`; 8 bits
    classes: int  # row << 8 | low byte of the code point -> OTHER, LETTER, NUMBER, SPACE; 8 bits
    byte_ids: int = 0  # byte -> token id; 32 bits
    byte_pairs: int = 0  # byte << 8 | byte -> id << 32 | rank << PLACE_BITS, or NO_KEY; 64 bits
    merges: int = 0  # rank -> left id << 42 | right id << 21 | id; 64 bits
    # A perfect hash table of the pairs that merge, by hash and displace: no two share a slot.
    # Source: Belazzougui, Botelho, Dietzfelbinger 2009, Hash, displace, and compress.
    displacements: int = 0  # bucket of a hash -> what leads its pairs to free slots; 16 bits
    bucket_shift: int = 0  # from a hash down to its bucket
    slots: int = 0  # tag << ID_BITS | rank; 32 bits
    slot_shift: int = 0  # from a displaced hash down to its slot
    key_masks: int = 0  # size of a piece -> masks of its two words, and the size; 4 words


class Tokens(NamedTuple):
    """The bytes of all tokens; read-only."""

    content: int  # one token after the other, and 16 bytes more
    starts: int  # id -> where in the content its bytes begin; 32 bits
    lengths: int  # id -> how many bytes, NO_TOKEN where there is none; 32 bits


class Workspace(NamedTuple):
    """What one thread writes while it encodes: caches, and room for the batch and for merging."""

    near: int  # see `caches`
    far: int
    batch: int  # entries, and the start of the piece after them
    tail: int  # the copy of a text's last bytes
    ids: int  # place -> id of the token that begins there; 32 bits
    keys: int  # place -> rank << PLACE_BITS | place of the pair that begins there; 32 bits
    made: int  # place -> id that the merge of this pair makes; 32 bits
    lowest: int  # the lowest key of each 64 places; 32 bits
    live: int  # a bit for each place: a token begins there


class Counts(NamedTuple):
    """The counts of pieces; table and store grow, see `piece_counter`."""

    table: int  # hash table: 28 bits of hash, and below them an eighth of a place in `store`
    table_shift: int  # from a 64-bit hash down to a slot of the table
    store: int  # entries: a word each for the count and the piece's size, the piece in whole words
    size: int  # bytes of the store
    used: int  # bytes of the store, entries; 64 bits
    batch: int  # as in Workspace
    tail: int  # as in Workspace


@inlined
def low_bits(count: int) -> np.uint64:
    """Return a word whose lowest `count` bits are set, fewer than 64."""
    return (ONE << U(count)) - ONE
