"""Codec: calls the compiled functions, and owns the memory that they read and write."""

import ctypes
import os
from array import array
from collections.abc import Callable, Iterable
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from llm_tokenizer.compiled import kernels
from llm_tokenizer.compiled.layouts import GAVE_UP, NO_TOKEN
from llm_tokenizer.compiled.memory import (
    ThreadMemory,
    VocabularyTables,
    token_tables,
    vocabulary_tables,
)
from llm_tokenizer.compiled.utf8 import check_utf8
from llm_tokenizer.documents import in_threads
from llm_tokenizer.splitter import well_formed
from llm_tokenizer.vocabulary import Vocabulary

Array = npt.NDArray[Any]
Out = TypeVar("Out")

KEPT_ROOMS = os.cpu_count() or 1  # of the threads that have encoded at once
SHORT_TEXT = 2**14  # bytes of a text whose ids are written to memory that is kept for that
FEW_IDS = 512  # fewer than that are made Python objects sooner than found among those there are
WORTH_A_THREAD = 2**18  # bytes of text: encoded in several times what starting a thread takes

_utf8_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.POINTER(ctypes.c_ssize_t))(
    ("PyUnicode_AsUTF8AndSize", ctypes.pythonapi)
)
_ascii_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)(
    ("PyUnicode_AsUTF8", ctypes.pythonapi)
)


def fits(vocabulary: Vocabulary) -> bool:
    """Say if the compiled functions can hold the ids and ranks of a vocabulary."""
    return bool(max(vocabulary.largest_id, len(vocabulary.merges)) < NO_TOKEN)


def utf8_address(text: str) -> tuple[str, int, int]:
    """Return a well-formed text, which must be kept, and the address and size of its UTF-8."""
    if text.isascii():  # the size is known: one argument less to convert
        return text, _ascii_of(text), len(text)
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
        self._idle: list[_Room] = []

    def encode(self, text: str) -> Array:
        """Return the ids of a text."""
        text, address, size = utf8_address(text)
        return self._encode_at(address, size, _kept)

    def encode_utf8(self, utf8: bytes) -> Array | None:
        """Return the ids of a text in UTF-8, or None if it is not UTF-8."""
        array = np.frombuffer(utf8, np.uint8)
        return self._encode_at(array.ctypes.data, len(array), _kept) if _is_utf8(array) else None

    def encode_to_list(self, text: str) -> list[int]:
        """Return the ids of a text as Python's own."""
        text, address, size = utf8_address(text)
        return self._encode_at(address, size, self.to_list)

    def to_list(self, ids: Array) -> list[int]:
        """Return ids, all of them in the vocabulary, as a list.

        Many are taken from among those that the vocabulary holds: in a fourth of the memory and a
        third of the time that new objects of their own need.
        """
        if len(ids) < FEW_IDS:
            return ids.tolist()
        return self._ids.take(ids, mode="clip").tolist()  # to clip is cheaper than to check

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
        parts = _shares(bounds, num_threads)
        begins = np.cumsum([0, *(self._most_ids(part, opener) for part in parts)])
        ids = np.empty(begins[-1], self._dtype)

        def encode(k: int) -> tuple[int, npt.NDArray[np.int64]]:
            room = ids[begins[k] : begins[k + 1]]
            return self._encode(utf8.ctypes.data, parts[k], opener, room)

        done = in_threads(encode, range(len(parts)), max(1, len(parts)))
        starts = np.cumsum([0, *(number for number, _ in done)])
        width, address = self._dtype.itemsize, ids.ctypes.data
        for begin, start, end in zip(
            begins.tolist(), starts.tolist(), starts[1:].tolist(), strict=False
        ):
            ctypes.memmove(address + width * start, address + width * begin, width * (end - start))
        ids.resize(starts[-1], refcheck=False)  # gives back what is left
        ends = [part_ends + start for (_, part_ends), start in zip(done, starts[:-1], strict=True)]
        return ids, np.concatenate([[0], *ends])

    def decode(self, ids: Iterable[int]) -> bytes | None:
        """Return the bytes of ids, or None if one of them is not in the vocabulary."""
        array = _uint32(ids)
        if array is None:
            return None
        tokens, n_known = self._tokens[0], self._vocabulary.largest_id + 1
        address = array.ctypes.data
        size = kernels.decoded_size(address, len(array), tokens, n_known)
        if size == GAVE_UP:
            return None
        out = np.empty(size + 7, np.uint8)
        kernels.decode(address, len(array), tokens, out.ctypes.data)
        return out[:size].tobytes()

    @cached_property
    def _ids(self) -> Array:
        """The Python object of each id at the place of that number."""
        of_place = np.empty(self._vocabulary.largest_id + 1, object)
        ids = list(self._vocabulary.bytes_of_id)
        of_place[ids] = ids
        return of_place

    def _room(self) -> "_Room":
        try:
            return self._idle.pop()
        except IndexError:
            return _Room(self._tables, self._dtype)

    def _give_back(self, room: "_Room") -> None:
        if len(self._idle) < KEPT_ROOMS:
            self._idle.append(room)

    def _encode_at(self, address: int, size: int, result_of: Callable[[Array], Out]) -> Out:
        """Return what `result_of` makes of the ids of a text, which it must copy out of a view."""
        if size <= SHORT_TEXT:
            room = self._room()
            try:
                room.bounds[1] = size
                done, _, _, out = kernels.encode(
                    address, room.at_bounds, room.at_ends, 1, -1, 0, address, room.at_ids, room.at
                )
                if done:
                    return result_of(room.ids[: (out - room.at_ids) // self._dtype.itemsize])
            finally:
                self._give_back(room)
        bounds = np.array([0, size])
        ids = np.empty(self._most_ids(bounds, None), self._dtype)
        number, _ = self._encode(address, bounds, None, ids)
        ids.resize(number, refcheck=False)
        return result_of(ids)

    def _most_ids(self, bounds: npt.NDArray[np.int64], opener: int | None) -> int:
        """Return for how many ids `_encode` needs room."""
        openers = 0 if opener is None else len(bounds) - 1
        return int(bounds[-1] - bounds[0]) + openers + 16 // self._dtype.itemsize

    def _encode(
        self, text: int, bounds: npt.NDArray[np.int64], opener: int | None, ids: Array
    ) -> tuple[int, npt.NDArray[np.int64]]:
        """Write the ids of texts at an address; return how many, and where those of each end."""
        start, ends = ids.ctypes.data, np.empty(len(bounds) - 1, np.int64)
        before = -1 if opener is None else opener
        k, piece, out = 0, text + int(bounds[0]), start
        room = self._room()
        try:
            while True:
                k, piece, piece_end, out = kernels.encode(
                    text, bounds.ctypes.data, ends.ctypes.data, len(ends), before, k, piece, out,
                    room.at,
                )  # fmt: skip
                if k == len(ends):
                    break
                merged = self._encode_piece(ctypes.string_at(piece, piece_end - piece))
                ids_of_piece = np.array(merged, self._dtype)
                ctypes.memmove(out, ids_of_piece.ctypes.data, ids_of_piece.nbytes)
                piece, out = piece_end, out + ids_of_piece.nbytes
        finally:
            self._give_back(room)
        return (out - start) // self._dtype.itemsize, (ends - start) // self._dtype.itemsize


def _shares(bounds: npt.NDArray[np.int64], num_threads: int) -> list[npt.NDArray[np.int64]]:
    """Return the bounds of the texts that each of some threads encodes: as many bytes as others."""
    n_bytes = int(bounds[-1] - bounds[0])
    num_threads = min(num_threads, len(bounds), 1 + n_bytes // WORTH_A_THREAD)
    shares = np.linspace(bounds[0], bounds[-1], num_threads + 1)
    firsts = np.searchsorted(bounds[:-1], shares)
    firsts[0], firsts[-1] = 0, len(bounds) - 1
    return [bounds[a : b + 1] for a, b in pairwise(firsts) if b > a]


def _is_utf8(array: Array) -> bool:
    address = array.ctypes.data
    stop = check_utf8(address, address + len(array))
    if stop == GAVE_UP:
        return False
    start = stop - address
    while start > 0 and array[start] & 0xC0 == 0x80:  # to the first byte of a character
        start -= 1
    try:
        array[start:].tobytes().decode()
    except UnicodeDecodeError:
        return False
    return True


def _uint32(ids: Iterable[int]) -> Array | None:
    """Return ids as uint32, or None if they are not a sequence of such numbers."""
    if isinstance(ids, np.ndarray):
        whole = ids.ndim == 1 and ids.dtype.kind in "iu"
        fitting = whole and (not ids.size or 0 <= ids.min() <= ids.max() < 2**32)
        return np.array(ids, np.uint32) if fitting else None  # a copy, which no thread changes
    try:
        return np.frombuffer(array("I", ids), np.uint32)  # far faster than numpy's own reading
    except (TypeError, OverflowError):
        return None


def _kept(ids: Array) -> Array:
    """Return ids in memory of their own."""
    return ids if ids.base is None else ids.copy()


class _Room:
    """What one call needs: a thread's memory, and for a short text its bounds, end and ids."""

    def __init__(self, tables: VocabularyTables, dtype: np.dtype[Any]) -> None:
        self._memory = ThreadMemory(tables.near)
        words = [*tables.addresses, *self._memory.addresses, dtype.itemsize]
        self._words = np.array(words, np.int64)
        self.at = self._words.ctypes.data
        self.bounds, self.ends = np.zeros(2, np.int64), np.empty(1, np.int64)
        self.ids = np.empty(SHORT_TEXT + 16 // dtype.itemsize, dtype)
        self.at_bounds, self.at_ends = self.bounds.ctypes.data, self.ends.ctypes.data
        self.at_ids = self.ids.ctypes.data
