"""What Python calls: text to ids, ids to bytes, and the table of merges filled."""

import numpy as np

from llm_tokenizer.compiled.caches import encode_piece, look_near, take_near
from llm_tokenizer.compiled.instructions import get32, get64, put16, put32, put64, words_at
from llm_tokenizer.compiled.jit import inlined, kept
from llm_tokenizer.compiled.layouts import (
    GAVE_UP,
    ID_BITS,
    NO_KEY,
    NO_TOKEN,
    Tables,
    Tokens,
    U,
    Workspace,
    signed,
)
from llm_tokenizer.compiled.merge import hash_pair, put_id, slot_of, tag_of
from llm_tokenizer.compiled.pieces import copy_words
from llm_tokenizer.compiled.scan import for_each_piece

N_TABLES, N_WORKSPACE = len(Tables._fields), len(Workspace._fields)

_encode_pieces = for_each_piece(look_near, take_near, encode_piece)


@kept
def encode(
    text: int,
    bounds: int,
    ends: int,
    n_texts: int,
    opener: int,
    k: int,
    address: int,
    out: int,
    memory: int,
) -> tuple[int, int, int, int]:
    """Write the ids of the texts that lie one after the other at `text` to `out`.

    Args:
        text: Address of well-formed UTF-8.
        bounds: Address of int64: text k lies from bounds[k] to bounds[k + 1].
        ends: Address of int64: where to write the address at which the ids of text k end.
        n_texts: How many texts.
        opener: An id to write before those of each text, or -1 for none.
        k: The text to begin with.
        address: Where in it.
        out: Address to write the ids to; one for each byte and opener, and 16 bytes, are enough.
        memory: Address of int64: what Tables and a Workspace, which no other thread uses meanwhile,
            hold, and the bytes of an id, 2 or 4. One number, as it takes longer to unpack many than
            to encode a short text.

    Returns:
        Where it stopped: `k`, `address` and `out`, and before the last the end of the piece at
        `address`, which needs the reference if texts are left.
    """
    tables = Tables(*words_at(memory, N_TABLES))
    space = Workspace(*words_at(memory + 8 * N_TABLES, N_WORKSPACE))
    width = words_at(memory + 8 * (N_TABLES + N_WORKSPACE), 1)[0]
    stop = address
    while k < n_texts:
        end = text + signed(get64(bounds, k + 1))
        if opener >= 0 and address == text + signed(get64(bounds, k)):
            out = put_id(out, np.uint32(opener), width)
        address, stop, out = _encode_pieces(address, end, out, width, tables, space)
        if address < end:
            break
        put64(ends, k, U(out))
        k += 1
    return k, address, stop, out


@inlined
def _hash_of(rank: np.uint32, tables: Tables) -> np.uint64:
    return hash_pair(get64(tables.merges, rank) >> U(ID_BITS))


@inlined
def _enter(ranks: int, first: int, end: int, displacement: int, tables: Tables) -> bool:
    """Enter a bucket's merges in the slots a displacement leads to, if all of these are free."""
    for k in range(first, end):
        rank = get32(ranks, k)
        hashed = _hash_of(rank, tables)
        slot = slot_of(hashed, displacement, tables)
        if get32(tables.slots, slot) != NO_KEY:
            for j in range(first, k):
                taken = slot_of(_hash_of(get32(ranks, j), tables), displacement, tables)
                put32(tables.slots, taken, NO_KEY)
            return False
        put32(tables.slots, slot, np.uint32(tag_of(hashed) << np.uint32(ID_BITS) | rank))
    return True


@kept
def fill_slots(ranks: int, bounds: int, n_buckets: int, tables: Tables) -> bool:
    """Find a displacement for each bucket of merges; return False where there is none.

    Args:
        ranks: Address of uint32: the ranks of all merges, bucket by bucket, the largest first.
        bounds: Address of int64: those of bucket k lie from bounds[k] to bounds[k + 1].
        n_buckets: How many buckets have merges.
        tables: Tables, of which `slots` holds NO_KEY alone.
    """
    for k in range(n_buckets):
        first, end = signed(get64(bounds, k)), signed(get64(bounds, k + 1))
        displacement = 0
        while not _enter(ranks, first, end, displacement, tables):
            displacement += 1
            if displacement == 2**16:
                return False
        bucket = _hash_of(get32(ranks, first), tables) >> U(tables.bucket_shift)
        put16(tables.displacements, bucket, np.uint16(displacement))
    return True


@kept
def decoded_size(ids: int, n_ids: int, tokens: Tokens, n_known: int) -> int:
    """Return how many bytes the tokens of uint32 ids have, or GAVE_UP if one is unknown.

    `tokens` goes from id 0 to n_known - 1.
    """
    total = 0
    for k in range(n_ids):
        token = signed(get32(ids, k))
        if token >= n_known or get32(tokens.lengths, token) == NO_TOKEN:
            return GAVE_UP
        total += signed(get32(tokens.lengths, token))
    return total


@kept
def decode(ids: int, n_ids: int, tokens: Tokens, out: int) -> None:
    """Write the bytes of tokens, all of them known, to `out`, and up to 7 bytes more."""
    for k in range(n_ids):
        token = signed(get32(ids, k))
        size = signed(get32(tokens.lengths, token))
        copy_words(tokens.content + signed(get32(tokens.starts, token)), out, size)
        out += size
