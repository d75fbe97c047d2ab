"""What the network asks of a key-value cache, which spares it the tokens that it has read before.

Dimension key: B rows, T new tokens a row, S tokens with those before, H heads, D channels a head.
"""

from typing import Protocol

from torch import Tensor


class BlockCache(Protocol):
    """The keys and values of one block's attention."""

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep those of the new tokens, each (B, H, T, D), and return all, each (B, H, S, D)."""


class Cache(Protocol):
    """The keys and values of all blocks, and which of a row's tokens are padding."""

    @property
    def length(self) -> int:
        """Tokens a row that are kept, padding included."""

    @property
    def padding(self) -> Tensor | None:
        """Padding tokens at the beginning of each row, (B,); None if no row has any."""

    def block(self, number: int) -> BlockCache:
        """Return the cache of one block, the first being 0."""
