"""PieceCounter: how often each piece occurs in texts, for training."""

from typing import Any

import numpy as np
import numpy.typing as npt

from llm_tokenizer import compiled
from llm_tokenizer.codec import class_tables, utf8_address

Array = npt.NDArray[Any]


class PieceCounter:
    """How often each piece occurs in texts, for training; memory grows with the distinct pieces."""

    def __init__(self) -> None:
        self._classes = class_tables()
        pages, classes = (array.ctypes.data for array in self._classes)
        self._tables = compiled.Tables(pages, classes)  # no more is needed for splitting
        self._tail = np.zeros(compiled.TAIL_BYTES, np.uint8)
        self._used = np.array([compiled.FIRST_ENTRY, 0], np.uint64)
        self._table = np.zeros(2**16, np.uint64)
        self._store = np.zeros(2**22, np.uint8)

    def add(self, text: str) -> None:
        """Count the pieces of a text."""
        text, address, size = utf8_address(text)
        end = address + size
        while (address := compiled.count(address, end, self._tables, self._counts())) < end:
            self._grow()

    def pieces(self) -> tuple[Array, Array, Array]:
        """Return the bytes of all pieces and 8 more, where each piece begins, and the counts."""
        words = self._store.view(np.int64)
        pieces, counts = [], []
        place, end = compiled.FIRST_ENTRY, int(self._used[0])
        while place < end:
            size = int(words[place // 8 + 1])
            pieces.append(self._store[place + 16 : place + 16 + size].tobytes())
            counts.append(int(words[place // 8]))
            place += 16 + (size + 7) // 8 * 8
        content = np.frombuffer(b"".join(pieces) + bytes(8), np.uint8)
        bounds = np.cumsum([0, *map(len, pieces)])
        return content, bounds, np.array(counts, np.int64)

    def _counts(self) -> compiled.Counts:
        return compiled.Counts(
            table=self._table.ctypes.data,
            table_shift=64 - (len(self._table).bit_length() - 1),
            store=self._store.ctypes.data,
            size=len(self._store),
            used=self._used.ctypes.data,
            tail=self._tail.ctypes.data,
        )

    def _grow(self) -> None:
        if 2 * self._used[1] >= len(self._table):
            self._table = np.zeros(2 * len(self._table), np.uint64)
            compiled.fill_counts(self._counts())
        else:
            self._store = np.concatenate([self._store, np.zeros_like(self._store)])
