"""What the engine asks of whatever computes logits; `cpu` and `gpu`... """

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class TextCache(Protocol):
    """The keys and values of one text."""

    capacity: int  # tokens that it can hold
    length: int  # tokens that it holds; may be set lower, to forget the last ones

    def copy_from(self, other: "TextCache", length: int) -> None:
        """Take over the first `length` tokens of another text, and forget all others."""


@dataclass(frozen=True)
class Piece:
    """New tokens of one text, at least one."""

    cache: TextCache
    ids: list[int]
    wants_all: bool = False  # the logits after each of the tokens; after the last alone otherwise


@dataclass(frozen=True)
class Logits:
    """What a pass computed, for the wanted tokens of its pieces in order. Ids without a token have none."""

    likeliest: list[int]  # id of the largest logit, the lowest among equals
    largest: list[float]  # its value
    log_normalizers: list[float]  # log of the sum of exponentials: a logit minus it is a log-probability
    values: Tensor  # (wanted, V), float32; valid until the next pass


class Runner(Protocol):
    """Computes logits, and keeps keys and values."""

    is_invariant: bool  # a text's logits are the same to the bit, whatever is computed with them

    def bytes_of(self, capacity: int) -> int:
        """Return the memory of a cache that holds so many tokens."""

    def new_cache(self, capacity: int) -> TextCache:
        """Return an empty cache for a text of up to so many tokens."""

    def run(self, pieces: Sequence[Piece]) -> Logits:
        """Read new tokens of several texts, and append them to their caches."""
