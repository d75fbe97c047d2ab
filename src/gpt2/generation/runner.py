"""What the engine needs of a runner, which computes logits and keeps keys and values.

There are two: `cpu.runner` runs a pass compiled for the CPU, `torch_runner` the network itself, on
any device.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor


class TextCache(Protocol):
    """The keys and values of one text."""

    length: int  # tokens that it holds; may be set lower, to forget the last ones

    def copy_from(self, other: Any, length: int) -> None:
        """Take over the first `length` tokens of another text, and forget all others."""


@dataclass(frozen=True)
class Piece:
    """New tokens of one text, at least one."""

    cache: Any  # a TextCache of the runner's own
    ids: list[int]
    wanted: int = 1  # so many of the last are followed by logits that are wanted


@dataclass(frozen=True)
class Logits:
    """The logits after the wanted tokens of some pieces, in order; -inf for ids without a token."""

    values: Tensor  # (wanted, V), float32, on the runner's device; valid until the next pass
    likeliest: list[int]  # id of the largest logit, the lowest among equals
    largest: list[float]
    log_normalizers: list[float]  # a logit minus it is a log-probability


class Runner(Protocol):
    """Computes logits, and keeps keys and values."""

    most_tokens: int  # of one pass
    is_invariant: bool  # a text's logits are the same to the bit, whatever else a pass computes

    def bytes_of(self, capacity: int) -> int:
        """Return the memory of a cache that holds so many tokens."""

    def new_cache(self, capacity: int) -> TextCache:
        """Return an empty cache for a text of up to so many tokens."""

    def run(self, pieces: Sequence[Piece]) -> Logits:
        """Read new tokens of several texts, and append them to their caches."""
