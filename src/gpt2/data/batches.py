"""Which tokens a training step reads: a pure function of (seed, step).

The shards are one stream of tokens. A row is `length` + 1 tokens of it, at a stride of `length`:
its inputs and, one later, its targets. Every epoch reads every row once, in its own order.
R rows, T tokens a row (`length`).
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

import numpy as np
import numpy.typing as npt

from gpt2.data.shards import Tokens
from gpt2.errors import DataError

Rows = npt.NDArray[np.integer]

NO_TOKENS = {
    "training": "there is no training text: prepare more text, or name another folder",
    "held-out": "no text is held out: a document is never divided, so prepare the text again with "
    '--separator, such as --separator "\\n\\n", or with more documents and a --hold-out above 0',
}


class TokenStream:
    """The tokens of several shards as one sequence, cut into rows.

    Args:
        shards: Tokens, in order.
        length: Inputs per row, in tokens.
        what: What the text is for; the error names it.
        most_rows: Use this many rows at most, the first ones; all if None.
    Raises:
        DataError: There are too few tokens for one row.
    """

    def __init__(
        self,
        shards: Sequence[Tokens],
        length: int,
        what: Literal["training", "held-out"] = "training",
        most_rows: int | None = None,
    ) -> None:
        self.shards = shards
        self.length = length
        self.starts = np.cumsum([0] + [len(shard) for shard in shards])
        complete = (int(self.starts[-1]) - 1) // length  # an incomplete last row is left out
        self.rows = complete if most_rows is None else min(complete, most_rows)
        if self.starts[-1] == 0:
            raise DataError(NO_TOKENS[what])
        if self.rows < 1:
            raise DataError(
                f"one row needs {length + 1} tokens, the {what} text has {self.starts[-1]}; "
                "give more text, or a smaller n_positions"
            )
        self._views = [self._rows_within(k) for k in range(len(shards))]

    def read(self, row: int) -> npt.NDArray[np.int64]:  # -> (T + 1,)
        """Return the tokens of one row, which may lie in several shards."""
        start, stop = row * self.length, row * self.length + self.length + 1
        first = int(np.searchsorted(self.starts, start, side="right")) - 1
        last = int(np.searchsorted(self.starts, stop, side="left"))
        parts = [
            self.shards[i][max(0, start - self.starts[i]) : stop - self.starts[i]]
            for i in range(first, last)
        ]
        return np.concatenate(parts, dtype=np.int64)

    def read_rows(self, rows: Rows | Sequence[int]) -> npt.NDArray[np.int64]:  # (R,) -> (R, T + 1)
        """Return several rows."""
        wanted = np.asarray(rows, np.int64)
        tokens = np.empty((len(wanted), self.length + 1), np.int64)
        shard_of = np.searchsorted(self.starts, wanted * self.length, side="right") - 1
        for k in np.unique(shard_of):
            first, view = self._views[k]
            places = np.flatnonzero(shard_of == k)
            within = wanted[places] - first
            # Rows within one shard are copied at once, rows across a border one by one.
            whole = (within >= 0) & (within < len(view))
            tokens[places[whole]] = view[within[whole]]
            for place in places[~whole]:
                tokens[place] = self.read(int(wanted[place]))
        return tokens

    def _rows_within(self, k: int) -> tuple[int, Tokens]:
        """Return the first row that begins in a shard, and a view of all that also end there."""
        start, shard = int(self.starts[k]), self.shards[k]
        first = -(-start // self.length)
        begin = first * self.length - start
        if len(shard) - begin <= self.length:
            return first, np.empty((0, self.length + 1), np.uint16)
        windows = np.lib.stride_tricks.sliding_window_view(shard[begin:], self.length + 1)
        return first, windows[:: self.length]


class RowOrder:
    """The rows of each step: every row of an epoch once, in a seeded permutation.

    >>> order = RowOrder(rows=4, batch_rows=3, seed=0)
    >>> sorted([*order.at(0), *order.at(1)[:1]])
    [np.int64(0), np.int64(1), np.int64(2), np.int64(3)]
    """

    def __init__(self, rows: int, batch_rows: int, seed: int, offset: int = 0) -> None:
        self.rows = rows
        self.batch_rows = batch_rows
        self.seed = seed
        self.offset = offset  # rows read before step 0, by a run that then changed its batch size
        self._epoch = -1
        self._permutation = np.empty(0, np.int64)

    def at(self, step: int) -> npt.NDArray[np.int64]:  # -> (batch_rows,)
        """Return the rows of a step; the first step is 0."""
        position = self.offset + step * self.batch_rows
        end = position + self.batch_rows
        taken = []
        while position < end:
            epoch, offset = divmod(position, self.rows)
            taken.append(self._order(epoch)[offset : offset + end - position])
            position += len(taken[-1])
        return np.concatenate(taken)

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        if epoch != self._epoch:
            self._permutation = np.empty(
                0, np.int64
            )  # freed first, so that memory holds one permutation, not two
            self._permutation = np.random.default_rng([self.seed, epoch]).permutation(self.rows)
            self._epoch = epoch
        return self._permutation


class Batches:
    """The tokens of each step for one rank; a thread reads the next step's ahead.

    Args:
        stream: The tokens.
        batch_rows: Rows per step of all ranks together.
        seed: Seed of the order.
        rank: This process's rank, from 0 on.
        ranks: World size. The ranks divide the rows of a step in order, evenly or not.
        offset: Rows of the order that come before step 0.
    """

    def __init__(
        self,
        stream: TokenStream,
        batch_rows: int,
        seed: int,
        *,
        rank: int = 0,
        ranks: int = 1,
        offset: int = 0,
    ) -> None:
        self.stream = stream
        self._order = RowOrder(stream.rows, batch_rows, seed, offset)
        self._share = slice(batch_rows * rank // ranks, batch_rows * (rank + 1) // ranks)
        self._thread = ThreadPoolExecutor(1)
        self._ahead: tuple[int, Future[npt.NDArray[np.int64]]] | None = None

    def at(self, step: int) -> npt.NDArray[np.int64]:  # -> (R, T + 1)
        """Return the tokens of a step and start to read the next; the first step is 0."""
        # Always in the one thread, since RowOrder caches the permutation of its last epoch.
        ahead_of = self._ahead
        reading = ahead_of[1] if ahead_of and ahead_of[0] == step else self._submit(step)
        tokens = reading.result()
        self._ahead = (step + 1, self._submit(step + 1))
        return tokens

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)

    def _submit(self, step: int) -> Future[npt.NDArray[np.int64]]:
        return self._thread.submit(lambda: self.stream.read_rows(self._order.at(step)[self._share]))
