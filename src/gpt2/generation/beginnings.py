"""Which of many texts begin as another one does? An index by their first blocks of tokens."""

from collections.abc import Hashable, Iterator, Sequence
from itertools import islice
from typing import Generic, TypeVar

BLOCK = 16  # tokens: common beginnings are found from one block on
MOST_FOUND = 8

Owner = TypeVar("Owner", bound=Hashable)


class Beginnings(Generic[Owner]):
    """Texts, each with an owner, by their beginnings.

    A text takes memory and time by its length alone, however many there are.
    """

    def __init__(self) -> None:
        self._owners: dict[int, dict[Owner, None]] = {}  # by a hash of 1, 2, 3, ... blocks
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
        """Return owners of texts that have most of the whole blocks at the beginning of this one.

        Of many the last ones that were added. Hashes may be equal by chance: compare the tokens.
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
