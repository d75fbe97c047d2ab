"""PieceCounter: how often each piece occurs in texts, for training."""

from typing import Any

import numpy as np
import numpy.typing as npt

from llm_tokenizer.codec import utf8_address
from llm_tokenizer.compiled import piece_counts
from llm_tokenizer.compiled.layouts import BATCH_BYTES, TAIL_BYTES, Counts, Tables
from llm_tokenizer.compiled.memory import class_tables

Array = npt.NDArray[Any]


class PieceCounter:
    """How often each piece occurs in texts, for training; memory grows with the distinct pieces."""

    def __init__(self) -> None:
        self._classes = class_tables()
        pages, classes = (array.ctypes.data for array in self._classes)
        self._tables = Tables(pages, classes)  # no more is needed for splitting
        self._tail = np.zeros(TAIL_BYTES, np.uint8)
        self._batch = np.zeros(BATCH_BYTES // 8, np.uint64)
        self._used = np.array([piece_counts.FIRST_ENTRY, 0], np.uint64)
        self._table = np.zeros(2**16, np.uint64)
        self._store = np.zeros(2**22, np.uint8)

    def add(self, text: str) -> None:
        """Count the pieces of a text."""
        text, address, size = utf8_address(text)
        end = address + size
        while (address := piece_counts.count(address, end, self._tables, self._counts())) < end:
            self._grow()

    def pieces(self) -> tuple[Array, Array, Array]:
        """Return the bytes of all pieces, where each piece begins, and the counts."""
        used, number = self._used.tolist()
        content = np.empty(used, np.uint8)
        bounds, frequencies = np.empty(number + 1, np.int64), np.empty(number, np.int64)
        piece_counts.read_store(self._counts(), content, bounds, frequencies)
        return content[: bounds[-1]], bounds, frequencies

    def _counts(self) -> Counts:
        return Counts(
            table=self._table.ctypes.data,
            table_shift=64 - (len(self._table).bit_length() - 1),
            store=self._store.ctypes.data,
            size=len(self._store),
            used=self._used.ctypes.data,
            batch=self._batch.ctypes.data,
            tail=self._tail.ctypes.data,
        )

    def _grow(self) -> None:
        if 2 * self._used[1] >= len(self._table):
            self._table = np.zeros(2 * len(self._table), np.uint64)
            piece_counts.fill_table(self._counts())
        else:
            self._store = np.concatenate([self._store, np.zeros_like(self._store)])
