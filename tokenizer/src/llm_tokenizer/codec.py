"""Codec: calls the functions of `compiled`, and owns the memory that they read and write."""

import ctypes
import os
from array import array
from collections.abc import Callable, Iterable
from functools import cache, lru_cache, partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from llm_tokenizer import compiled, unicode_classes
from llm_tokenizer.documents import in_threads
from llm_tokenizer.splitter import well_formed
from llm_tokenizer.vocabulary import Vocabulary

Array = npt.NDArray[Any]

KEPT_WORKSPACES = os.cpu_count() or 1  # of the threads that have encoded at once

_utf8_of = ctypes.pythonapi.PyUnicode_AsUTF8AndSize
_utf8_of.restype = ctypes.c_void_p
_utf8_of.argtypes = [ctypes.py_object, ctypes.POINTER(ctypes.c_ssize_t)]


def fits(vocabulary: Vocabulary) -> bool:
    """Say if the compiled functions can hold the ids and ranks of a vocabulary."""
    return bool(max(vocabulary.largest_id, len(vocabulary.merges)) < compiled.NO_TOKEN)


def utf8_address(text: str) -> tuple[str, int, int]:
    """Return a well-formed text, which must be kept, and the address and size of its UTF-8."""
    size = ctypes.c_ssize_t()
    try:
        return text, _utf8_of(text, ctypes.byref(size)), size.value
    except UnicodeEncodeError:
        return utf8_address(well_formed(text))


class Codec:
    """Text to ids and back for one vocabulary. Many threads may use it at once."""

    def __init__(self, vocabulary: Vocabulary, encode_piece: Callable[[bytes], list[int]]) -> None:
        """Prepare for a vocabulary that `fits`.

        Args:
            vocabulary: The vocabulary.
            encode_piece: The reference, for pieces that `compiled` gives up.
        """
        self._vocabulary = vocabulary
        self._tables, self._tokens = _tables(vocabulary), _tokens(vocabulary)
        self._encode_piece = encode_piece
        self._dtype = np.dtype(f"u{vocabulary.id_bytes}")
        self._idle: list[_Workspace] = []

    def encode(self, text: str) -> Array:
        """Return the ids of a text."""
        text, address, size = utf8_address(text)
        return self._encode(address, np.array([0, size]))[0]

    def encode_documents(
        self,
        utf8: Array,
        bounds: npt.NDArray[np.int64],
        num_threads: int,
        opener: int | None = None,
    ) -> tuple[Array, npt.NDArray[np.int64]]:
        """Return the ids of several texts, and where those of each begin and end.

        Args:
            utf8: uint8, the texts one after the other.
            bounds: Text k lies from bounds[k] to bounds[k + 1].
            num_threads: How many threads share the work, at least 1.
            opener: An id of the vocabulary to put before those of each text.
        """
        num_threads = min(num_threads, len(bounds))
        shares = np.linspace(bounds[0], bounds[-1], num_threads + 1)
        firsts = np.searchsorted(bounds[:-1], shares)
        firsts[0], firsts[-1] = 0, len(bounds) - 1
        parts = [bounds[a : b + 1] for a, b in pairwise(firsts) if b > a]
        if not parts:
            return np.empty(0, self._dtype), np.zeros(1, np.int64)
        encode = partial(self._encode, utf8.ctypes.data, opener=opener)
        done = in_threads(encode, parts, len(parts))
        starts = np.cumsum([0, *(len(ids) for ids, _ in done)])
        ends = [part_ends + start for (_, part_ends), start in zip(done, starts[:-1], strict=True)]
        ids = done[0][0] if len(done) == 1 else np.concatenate([ids for ids, _ in done])
        return ids, np.concatenate([[0], *ends])

    def decode(self, ids: Iterable[int]) -> bytes | None:
        """Return the bytes of ids, or None if one of them is not in the vocabulary."""
        array = _uint32(ids)
        if array is None:
            return None
        tokens, n_known = self._tokens[0], self._vocabulary.largest_id + 1
        size = compiled.decoded_size(array.ctypes.data, len(array), tokens, n_known)
        if size == compiled.GAVE_UP:
            return None
        out = np.empty(size + 7, np.uint8)
        compiled.decode(array.ctypes.data, len(array), tokens, out.ctypes.data)
        return out[:size].tobytes()

    def _encode(
        self, text: int, bounds: npt.NDArray[np.int64], opener: int | None = None
    ) -> tuple[Array, npt.NDArray[np.int64]]:
        """Return the ids of the texts at an address, and where those of each end."""
        number, width = len(bounds) - 1, self._dtype.itemsize
        before = -1 if opener is None else opener
        openers = 0 if opener is None else number
        ids = np.empty(int(bounds[-1] - bounds[0]) + openers + 16 // width, self._dtype)
        ends = np.empty(number, np.int64)
        place, out = (0, text + int(bounds[0])), ids.ctypes.data
        try:
            workspace = self._idle.pop()
        except IndexError:
            workspace = _Workspace(self._tables.near)
        try:
            while True:
                place, out = compiled.encode(
                    text, bounds.ctypes.data, ends.ctypes.data, number, before, place, out, width,
                    self._tables.addresses, workspace.addresses,
                )  # fmt: skip
                if place[0] == number:
                    break
                end = text + int(bounds[place[0] + 1])
                piece_end = compiled.long_piece_end(place[1], end, self._tables.addresses)
                piece = ctypes.string_at(place[1], piece_end - place[1])
                merged = np.array(self._encode_piece(piece), self._dtype)
                ctypes.memmove(out, merged.ctypes.data, merged.nbytes)
                place, out = (place[0], piece_end), out + merged.nbytes
        finally:
            if len(self._idle) < KEPT_WORKSPACES:
                self._idle.append(workspace)
        ends = (ends - ids.ctypes.data) // width
        ids.resize((out - ids.ctypes.data) // width, refcheck=False)  # gives back what is left
        return ids, ends


def _uint32(ids: Iterable[int]) -> Array | None:
    """Return ids as uint32, or None if they are not a sequence of such numbers."""
    if isinstance(ids, np.ndarray):
        whole = ids.ndim == 1 and ids.dtype.kind in "iu"
        fitting = whole and (not ids.size or 0 <= ids.min() <= ids.max() < 2**32)
        return np.ascontiguousarray(ids, np.uint32) if fitting else None
    try:
        return np.frombuffer(array("I", ids), np.uint32)  # far faster than numpy's own reading
    except (TypeError, OverflowError):
        return None


class _Workspace:
    """The memory of one thread, up to 22 MiB; see `compiled.Workspace`."""

    def __init__(self, near: Array) -> None:
        window = compiled.LARGE_WINDOW
        self.near = near.copy()
        self._arrays = {
            "near": self.near,
            "far": np.zeros(2**compiled.FAR_BITS, np.uint64),
            "store": np.zeros(2**compiled.STORE_BITS, np.uint8),
            "used": np.array([compiled.FIRST_ENTRY, 0], np.uint64),
            "ids": np.zeros(window + 1, np.uint32),
            "keys": np.zeros(window, np.uint32),
            "lowest": np.zeros(window // 64, np.uint32),
            "live": np.zeros(window // 64, np.uint64),
            "tail": np.zeros(compiled.TAIL_BYTES, np.uint8),
        }
        self.addresses = compiled.Workspace(
            **{name: array.ctypes.data for name, array in self._arrays.items()}
        )


@lru_cache(maxsize=4)
def _tokens(vocabulary: Vocabulary) -> tuple[compiled.Tokens, list[Array]]:
    """Return where the bytes of all tokens lie, and the arrays that lie there."""
    by_id = vocabulary.bytes_of_id
    ids = np.fromiter(by_id, np.int64, len(by_id))
    sizes = np.fromiter(map(len, by_id.values()), np.int64, len(by_id))
    lengths = np.full(vocabulary.largest_id + 1, compiled.NO_TOKEN, np.uint32)
    lengths[ids] = sizes
    starts = np.zeros(vocabulary.largest_id + 1, np.uint32)
    starts[ids] = np.cumsum(sizes) - sizes
    content = np.frombuffer(b"".join(by_id.values()) + bytes(16), np.uint8)
    arrays: list[Array] = [content, starts, lengths]
    return compiled.Tokens(*(array.ctypes.data for array in arrays)), arrays


class _Tables(NamedTuple):
    """What a vocabulary comes to for encoding."""

    addresses: compiled.Tables
    arrays: list[Array]  # which lie there
    near: Array  # a near cache that holds the tokens, for a workspace to begin with


@lru_cache(maxsize=4)
def _tables(vocabulary: Vocabulary) -> _Tables:
    ids, merges = vocabulary.token_ids, vocabulary.merges
    number = len(merges)
    slots = 1 << max(2 * number, 64).bit_length()  # more than half of them stay empty
    lefts = np.fromiter((ids[left] for left, _ in merges), np.uint32, number)
    rights = np.fromiter((ids[right] for _, right in merges), np.uint32, number)
    arrays: dict[str, Array] = {
        "pages": class_tables()[0],
        "classes": class_tables()[1],
        "byte_ids": np.array([ids[bytes([byte])] for byte in range(256)], np.uint32),
        "merged": np.fromiter((ids[left + right] for left, right in merges), np.uint32, number),
        "pairs": np.full(slots, compiled.ALL, np.uint64),
        "likely": np.zeros(2**compiled.LIKELY_BITS // 64, np.uint64),
    }
    addresses = {name: array.ctypes.data for name, array in arrays.items()}
    tables = compiled.Tables(**addresses, pairs_shift=64 - (slots.bit_length() - 1))
    compiled.fill_pairs(lefts.ctypes.data, rights.ctypes.data, number, tables)
    near = np.zeros(8 * 2**compiled.NEAR_BITS, np.uint64)
    workspace, scratch = _Workspace(near), np.empty(64, np.uint8)
    tokens, _arrays = _tokens(vocabulary)  # held, as another thread may take their place in a cache
    compiled.fill_near(
        tokens,
        vocabulary.largest_id + 1,
        scratch.ctypes.data,
        vocabulary.id_bytes,
        tables,
        workspace.addresses,
    )
    return _Tables(tables, list(arrays.values()), workspace.near)


@cache
def class_tables() -> tuple[Array, Array]:
    """Return the row of each 256 code points, and the rows, which many share; row 0 is ASCII's."""
    classes = np.full(2**21, compiled.OTHER, np.uint8)  # what four bytes of UTF-8 could say
    for name, kind in (
        ("letter", compiled.LETTER),
        ("number", compiled.NUMBER),
        ("space", compiled.SPACE),
    ):
        for first, last in unicode_classes.ranges(name):
            classes[first : last + 1] = kind
    rows: dict[bytes, int] = {}
    pages = [rows.setdefault(row.tobytes(), len(rows)) for row in classes.reshape(-1, 256)]
    return np.array(pages, np.uint8), np.frombuffer(b"".join(rows), np.uint8)
