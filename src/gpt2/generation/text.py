"""Token ids to text while they come: in whole characters, and cut at a stop string."""

from collections.abc import Iterator, Sequence

from llm_tokenizer import Tokenizer

Piece = tuple[str, int]  # a text, and the 0-based number of the token that completes it


class TextStream:
    """The text of one sequence, piece by piece.

    The pieces of `add` and `finish` together are the text that the tokenizer decodes from all ids,
    up to the first stop string in it. A character whose bytes lie in several tokens comes with the
    last of them. What may be the beginning of a stop string is held back until it is known.

    Args:
        tokenizer: What the ids mean.
        stop: Strings that end the text and are no part of it; none is empty. Of several that a
            token completes, the one that begins first counts.
    """

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str] = ()) -> None:
        self.stopped = False  # whether a stop string has ended the text
        self._stop = tuple(stop)
        self._decoded = tokenizer.decode_stream()
        self._held: list[Piece] = []
        self._count = 0  # tokens

    def add(self, token: int) -> list[Piece]:
        """Take the next token, and return the text that is known now; none once it has stopped.

        Raises:
            UnknownTokenError: The tokenizer has no such token.
        """
        text = self._decoded.add(token)
        self._count += 1
        return self._known(text)

    def finish(self) -> list[Piece]:
        """Return the rest of the text: after the last token nothing is held back."""
        rest = self._known(self._decoded.finish())
        held, self._held = self._held, []
        return rest + held

    def _known(self, text: str) -> list[Piece]:
        if self.stopped:
            return []
        if text:
            self._held.append((text, self._count - 1))
        held = "".join(text for text, _ in self._held)
        found = [start for stop in self._stop if (start := held.find(stop)) >= 0]
        self.stopped = bool(found)
        length = min(found) if found else len(held) - self._beginning_of_stop(held)
        known = list(_cut(self._held, 0, length))
        self._held = [] if found else list(_cut(self._held, length, len(held)))
        return known

    def _beginning_of_stop(self, text: str) -> int:
        """Return how many characters at the end of `text` a stop string begins with."""
        longest = max(map(len, self._stop), default=1) - 1
        for start in range(max(0, len(text) - longest), len(text)):
            if any(stop.startswith(text[start:]) for stop in self._stop):
                return len(text) - start
        return 0


def _cut(pieces: list[Piece], start: int, end: int) -> Iterator[Piece]:
    """Yield the characters of `pieces` from `start` to before `end`, still in pieces."""
    for text, token in pieces:
        if part := text[max(start, 0) : max(end, 0)]:
            yield part, token
        start -= len(text)
        end -= len(text)
