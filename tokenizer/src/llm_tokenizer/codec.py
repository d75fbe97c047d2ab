"""Codec: calls the functions of `compiled`, and owns the memory that they read and write."""

import ctypes
import os
from array import array
from collections.abc import Callable, Iterable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from llm_tokenizer.compiled import kernels, layouts
from llm_tokenizer.compiled.memory import ThreadMemory, token_tables, vocabulary_tables
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
    return bool(max(vocabulary.largest_id, len(vocabulary.merges)) < layouts.NO_TOKEN)


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
        self._tables, self._tokens = vocabulary_tables(vocabulary), token_tables(vocabulary)
        self._encode_piece = encode_piece
        self._dtype = np.dtype(f"u{vocabulary.id_bytes}")
        self._idle: list[ThreadMemory] = []

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
        size = kernels.decoded_size(array.ctypes.data, len(array), tokens, n_known)
        if size == layouts.GAVE_UP:
            return None
        out = np.empty(size + 7, np.uint8)
        kernels.decode(array.ctypes.data, len(array), tokens, out.ctypes.data)
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
            workspace = ThreadMemory(self._tables.near)
        try:
            while True:
                place, piece_end, out = kernels.encode(
                    text, bounds.ctypes.data, ends.ctypes.data, number, before, place, out, width,
                    self._tables.addresses, workspace.addresses,
                )  # fmt: skip
                if place[0] == number:
                    break
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
