"""Questions as the rows of a pass: which tokens it reads, and which of them are scored.

A row holds a context and, one after the other, its continuations, each of which attends to the
context and itself alone: what they share is read once.

Dimension key: B rows, T tokens a row, S scored tokens.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from gpt2.errors import InputError

Ids = Sequence[int] | NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Question:
    """A context and its continuations, as token ids, in lists or arrays; none is empty."""

    context: Ids
    continuations: Sequence[Ids]


@dataclass(frozen=True)
class Row:
    """A context and some continuations of one question, as they lie in a row."""

    number: int  # of the question
    indices: list[int]  # of its continuations
    context: Ids
    continuations: list[Ids]

    @property
    def is_forked(self) -> bool:
        """Whether several continuations follow the context."""
        return len(self.continuations) > 1

    @property
    def length(self) -> int:
        """Tokens that are read: the last one of each continuation is only predicted."""
        return len(self.context) + sum(len(each) - 1 for each in self.continuations)

    @property
    def ids(self) -> NDArray[np.int64]:
        """The tokens, (T,)."""
        return np.concatenate(
            [np.asarray(self.context), *(each[:-1] for each in self.continuations)]
        ).astype(np.int64)

    @property
    def branches(self) -> NDArray[np.int64]:
        """For each token 0 in the context, and k in the k-th continuation, (T,)."""
        lengths = [len(self.context), *(len(each) - 1 for each in self.continuations)]
        return np.repeat(np.arange(len(lengths)), lengths)

    @property
    def positions(self) -> NDArray[np.int64]:
        """The position of each token: those of a continuation follow the context, (T,)."""
        start = len(self.context)
        return np.concatenate(
            [np.arange(start), *(np.arange(len(c) - 1) + start for c in self.continuations)]
        )


def rows_of(number: int, question: Question, longest: int) -> Iterator[Row]:
    """Yield the rows that a question takes: one, if its tokens fit into `longest` together.

    A context that is too long for a continuation loses its first tokens, before that one alone.

    Raises:
        InputError: A context or a continuation is empty, or a continuation is longer than the
            model's context.
    """
    for each in (question.context, *question.continuations):
        if not len(each):
            raise InputError("a context and its continuations must have tokens, got an empty one")
    if too_long := [len(c) for c in question.continuations if len(c) > longest]:
        raise InputError(
            f"a continuation must have at most {longest} tokens, as many as the model reads, got "
            f"{max(too_long)}"
        )
    kept: dict[int, Ids] = {}
    room = longest - len(question.context)
    for index, each in enumerate(question.continuations):
        if len(question.context) + len(each) - 1 > longest:
            start = len(question.context) + len(each) - 1 - longest
            yield Row(number, [index], question.context[start:], [each])
            continue
        if len(each) - 1 > room:
            yield Row(number, list(kept), question.context, list(kept.values()))
            kept, room = {}, longest - len(question.context)
        kept[index] = each
        room -= len(each) - 1
    if kept:
        yield Row(number, list(kept), question.context, list(kept.values()))


class SharedContext:
    """The cache of a pass without cached tokens, in which continuations share their context.

    Args:
        branches: As `Row.branches`, (B, T); padding is taken for a part of the context.
        positions: As `Row.positions`, (B, T).
    """

    longest = 0  # tokens that were cached before

    def __init__(self, branches: Tensor, positions: Tensor) -> None:
        self._branches = branches
        self._positions = positions

    def positions(self, new: int) -> Tensor:  # (B, T)
        """Return the position of each token."""
        return self._positions

    def mask(self, positions: Tensor) -> Tensor:  # (B, T) -> (B, 1, T, T)
        """Return which tokens each may attend to: earlier ones of the context and its branch."""
        to, of = self._branches[:, :, None], self._branches[:, None, :]
        return ((of == 0) | (of == to)).tril()[:, None]

    def block(self, index: int) -> "SharedContext":
        """Return the cache of a block, which is this one: it holds nothing."""
        return self

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the keys and values of the pass, which are all."""
        return k, v


def scored_tokens(
    rows: Sequence[Row], length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the scored tokens of a pass whose rows are padded to a length.

    Returns:
        For each the place of the token before it in the flattened pass, (S,); its id, (S,); and
        where among them each continuation starts.
    """
    places: list[int] = []
    targets: list[int] = []
    starts = []
    for i, row in enumerate(rows):
        after = i * length + len(row.context)
        for each in row.continuations:
            starts.append(len(places))
            # The first token of each continuation is predicted where the context ends.
            places += [i * length + len(row.context) - 1, *range(after, after + len(each) - 1)]
            targets.extend(each)
            after += len(each) - 1
    return np.array(places), np.array(targets, np.int64), np.array(starts)


def stacked(rows: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return rows of several lengths as a matrix, with zeros after the shorter ones."""
    matrix = np.zeros((len(rows), max(map(len, rows))), np.int64)
    for i, row in enumerate(rows):
        matrix[i, : len(row)] = row
    return matrix
