"""The bytes of a piece: hashed, compared, copied by words, without reading any behind them."""

import numpy as np

from llm_tokenizer.compiled.instructions import load_word, store_word
from llm_tokenizer.compiled.jit import inlined
from llm_tokenizer.compiled.layouts import MIX_1, MIX_2, ONE, U, low_bits


@inlined
def round_up(size: int) -> int:
    """Return the bytes of the whole words that hold so many bytes."""
    return (size + 7) & ~7


@inlined
def _last_word(address: int, size: int) -> np.uint64:
    """Return the last `size & 7` of `size` bytes as a word, reading none behind them."""
    bits = 8 * (size & 7)
    if size < 8:  # then a text goes on for 8 bytes, or there is a copy of its end
        return load_word(address) & low_bits(bits)
    return (load_word(address + size - 8) >> ONE) >> U(63 - bits)


@inlined
def copy_words(source: int, target: int, size: int) -> None:
    """Copy `size` bytes, and what follows them up to a whole word."""
    for k in range(0, size, 8):
        store_word(target + k, load_word(source + k))


@inlined
def hash_bytes(address: int, size: int) -> np.uint64:
    """Return a 64-bit hash, of which the high bits are good."""
    mixed = U(size)
    for k in range(0, size & ~7, 8):
        mixed = (mixed ^ load_word(address + k)) * MIX_1
        mixed ^= mixed >> U(29)
    mixed = (mixed ^ _last_word(address, size)) * MIX_2
    return mixed ^ mixed >> U(32)


@inlined
def are_equal(address: int, stored: int, size: int) -> bool:
    """Say if a piece is the one that `store_piece` wrote."""
    for k in range(0, size & ~7, 8):
        if load_word(address + k) != load_word(stored + k):
            return False
    return size & 7 == 0 or _last_word(address, size) == load_word(stored + (size & ~7))


@inlined
def store_piece(address: int, size: int, stored: int) -> None:
    """Copy a piece to whole words, the last of them filled up with zeros."""
    copy_words(address, stored, size & ~7)
    if size & 7:
        store_word(stored + (size & ~7), _last_word(address, size))
