"""Which texts share the longest prefix with another one? An index by hashes of token blocks."""

from collections.abc import Hashable, Iterator, Sequence
from itertools import islice
from typing import Generic, TypeVar

BLOCK = 16  # tokens; shared prefixes are found in whole blocks
MOST_FOUND = 8

Owner = TypeVar("Owner", bound=Hashable)


class PrefixIndex(Generic[Owner]):
    """Finds texts, each with an owner, by their prefixes.

    The memory and time that a text takes depend on its length alone, however many there are.
    """

    def __init__(self) -> None:
        # By the hash of the first 1, 2, 3, ... blocks of a text.
        self._owners: dict[int, dict[Owner, None]] = {}
        self._keys: dict[Owner, list[int]] = {}

    def add(self, owner: Owner, ids: Sequence[int]) -> None:
        """Add a text; its owner has none yet."""
        self._keys[owner] = list(_keys(ids))
        for key in self._keys[owner]:
            self._owners.setdefault(key, {})[owner] = None

    def remove(self, owner: Owner) -> None:
        """Remove a text."""
        for key in self._keys.pop(owner):
            owners = self._owners[key]
            del owners[owner]
            if not owners:
                del self._owners[key]

    def find(self, ids: Sequence[int]) -> list[Owner]:
        """Return the owners of the texts that share the most whole blocks with the start of `ids`.

        At most MOST_FOUND, the last ones added. Hashes may collide: the caller compares the tokens.
        """
        found: dict[Owner, None] = {}
        for key in _keys(ids):
            if key not in self._owners:
                break
            found = self._owners[key]
        return list(islice(reversed(found), MOST_FOUND))


def _keys(ids: Sequence[int]) -> Iterator[int]:
    """Yield a hash of the first block, of the first two, and so on."""
    key = 0
    for start in range(0, len(ids) - BLOCK + 1, BLOCK):
        key = hash((key, *ids[start : start + BLOCK]))
        yield key
