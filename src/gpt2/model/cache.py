"""The interface of a KV cache, with which the network reads new tokens alone.

Dimension key: B rows, T new tokens a row, S tokens with the cached ones, H heads, D channels a
head.
"""

from typing import Protocol

from torch import Tensor


class BlockCache(Protocol):
    """The keys and values of one block's attention."""

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append those of the new tokens, each (B, H, T, D), and return all, each (B, H, S, D)."""


class Cache(Protocol):
    """The keys and values of all blocks, and the padding of each row."""

    @property
    def length(self) -> int:
        """Cached tokens a row, padding included."""

    @property
    def padding(self) -> Tensor | None:
        """Padding tokens at the beginning of each row, (B,); None if no row has any."""

    def block(self, index: int) -> BlockCache:
        """Return the cache of one block by its 0-based index."""
