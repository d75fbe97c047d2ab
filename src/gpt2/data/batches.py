"""Which tokens a training step reads: a pure function of (seed, step).

The shards are one stream of tokens. A row is `length` + 1 tokens of it, at a stride of `length`:
its inputs and, one later, its targets. Every epoch reads every row once, in an order of its own.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from gpt2.data.shards import Tokens
from gpt2.errors import DataError


class TokenStream:
    """The tokens of several shards as one sequence, cut into rows.

    Args:
        shards: Tokens, in order.
        length: Inputs a row, in tokens.
        what: What the tokens are, for the error.
    Raises:
        DataError: There are too few tokens for one row.
    """

    def __init__(self, shards: Sequence[Tokens], length: int, what: str = "training") -> None:
        self.shards = shards
        self.length = length
        self.starts = np.cumsum([0] + [len(shard) for shard in shards])
        if self.rows < 1:
            raise DataError(
                f"one row needs {length + 1} tokens, the {what} text has {self.starts[-1]}; "
                "give more text, or a smaller n_positions"
            )

    @property
    def rows(self) -> int:
        """Complete rows; what is left at the end is less than one."""
        return (int(self.starts[-1]) - 1) // self.length

    def read(self, row: int) -> npt.NDArray[np.int64]:  # -> (length + 1,)
        """Return the tokens of one row, which may lie in several shards."""
        start, stop = row * self.length, row * self.length + self.length + 1
        first = int(np.searchsorted(self.starts, start, side="right")) - 1
        last = int(np.searchsorted(self.starts, stop, side="left"))
        parts = [
            self.shards[i][max(0, start - self.starts[i]) : stop - self.starts[i]]
            for i in range(first, last)
        ]
        return np.concatenate(parts, dtype=np.int64)

    def read_rows(self, rows: Sequence[int]) -> npt.NDArray[np.int64]:  # -> (R, length + 1)
        """Return several rows."""
        return np.stack([self.read(row) for row in rows])


class RowOrder:
    """The rows of each step: every row of an epoch once, in a seeded permutation.

    >>> order = RowOrder(rows=4, batch_rows=3, seed=0)
    >>> sorted(order.at(0) + order.at(1)[:1])
    [0, 1, 2, 3]
    """

    def __init__(self, rows: int, batch_rows: int, seed: int) -> None:
        self.rows = rows
        self.batch_rows = batch_rows
        self.seed = seed
        self._epoch = -1
        self._permutation = np.empty(0, np.int64)

    def at(self, step: int) -> list[int]:
        """Return the rows of a step, the first being 0; the same whatever was asked before."""
        return list(self._walk(step * self.batch_rows, self.batch_rows))

    def _walk(self, position: int, count: int) -> Iterator[int]:
        while count > 0:
            epoch, offset = divmod(position, self.rows)
            taken = self._order(epoch)[offset : offset + count]
            yield from taken.tolist()
            position, count = position + len(taken), count - len(taken)

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        if epoch != self._epoch:  # only the latest is kept: 8 bytes a row
            self._permutation = np.random.default_rng([self.seed, epoch]).permutation(self.rows)
            self._epoch = epoch
        return self._permutation
