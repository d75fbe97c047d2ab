"""Drafting: guess the next tokens from what the text already holds, and check them in one pass.

A pass reads all weights, whether for one token or for some, so that checking a few guesses costs
little more than one token. What is drawn is what is drawn without: a guess only saves a pass where
it is right.

Source: Leviathan et al. 2022, arXiv:2211.17192, with a lookup in the text in place of a small
model, as in Saxena 2023, Prompt Lookup Decoding.
"""

from collections.abc import Sequence

KEY = 3  # so many tokens must have stood together before
SHORTEST, LONGEST = 3, 15  # tokens of a guess
ALLOWANCE = 0.02  # time that wrong guesses may take, as a share of all
FIRST_ALLOWANCE, MOST_ALLOWANCE = 1.0, 4.0  # of a text, in tokens' time


class Lookup:
    """Guesses how a text goes on: as it did after the latest place with the same last tokens."""

    def __init__(self, ids: Sequence[int] = ()) -> None:
        self._ids: list[int] = []
        self._ends: dict[tuple[int, ...], int] = {}  # KEY tokens -> where the token after them is
        self.add(ids)

    def add(self, ids: Sequence[int]) -> None:
        """Append tokens to the text."""
        for i in ids:
            if len(self._ids) >= KEY:
                self._ends[tuple(self._ids[-KEY:])] = len(self._ids)
            self._ids.append(i)

    def guess(self, most: int) -> list[int]:
        """Return up to `most` tokens; none where these last tokens are new."""
        end = self._ends.get(tuple(self._ids[-KEY:]))
        return [] if end is None else self._ids[end : end + most]


class Thrift:
    """Decides how many tokens of a text to guess, so that guessing pays.

    It keeps an account in units of a plain pass's time: tokens add a little to it, a guess takes
    what its pass costs more than a plain one and adds the tokens that came of it.
    """

    def __init__(self) -> None:
        self._account = FIRST_ALLOWANCE
        self._length = SHORTEST

    def most(self, extra: float) -> int:
        """Return how many tokens to guess, 0 if that may not pay.

        Args:
            extra: What one more token in a pass costs, in units of a plain pass; above 0.
        """
        return self._length if self._account >= self._length * extra else 0

    def record(self, guessed: int, right: int, extra: float) -> None:
        """Note the outcome of a pass with `guessed` guesses, 0 of a plain one."""
        gain = right - guessed * extra if guessed else ALLOWANCE
        self._account = min(self._account + gain, MOST_ALLOWANCE)
        if guessed:
            self._length = min(max(2 * right if right == guessed else right, SHORTEST), LONGEST)
