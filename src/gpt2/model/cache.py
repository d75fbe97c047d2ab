"""The interface of a KV cache, with which the network reads new tokens alone.

Dimension key: B rows, T new tokens a row, S tokens that they may attend to, H heads, D channels a
head.
"""

from typing import Protocol

from torch import Tensor


class BlockCache(Protocol):
    """The keys and values of one block's attention."""

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append those of the new tokens, each (B, H, T, D), and return all, each (B, H, S, D)."""


class Cache(Protocol):
    """The keys and values of all blocks, of several rows, each of its own length."""

    @property
    def longest(self) -> int:
        """Cached tokens of the longest row."""

    def positions(self, new: int) -> Tensor:  # (B, T)
        """Return the positions of so many new tokens: those of a row follow its cached ones."""

    def mask(self, positions: Tensor) -> Tensor:  # (B, T) -> (B, 1, T, S)
        """Return which cached and new tokens (S) the new tokens may attend to."""

    def block(self, index: int) -> BlockCache:
        """Return the cache of one block by its 0-based index."""
