"""Token ids to text while they come: which characters are complete after each id?"""

import codecs
from collections.abc import Callable


class DecodeStream:
    """The text of one sequence of ids, part by part; `Tokenizer.decode_stream` makes it.

    The parts of `add` and `finish` together are what `Tokenizer.decode` makes of all ids, U+FFFD
    for bytes that are not UTF-8 included. A character whose bytes lie in several tokens comes with
    the last of them. One thread at a time may use it.

    Args:
        bytes_of: The bytes of an id, such as `Tokenizer.decode_single_token_bytes`.
    """

    def __init__(self, bytes_of: Callable[[int], bytes]) -> None:
        self._bytes_of = bytes_of
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def add(self, token: int) -> str:
        """Take the next id, and return the characters that are complete now, if any are.

        Raises:
            UnknownTokenError: An id that the vocabulary does not hold; the stream is as before.
        """
        return self._decoder.decode(self._bytes_of(token))

    def finish(self) -> str:
        """Return U+FFFD if the last character lacks bytes, else ""; another text may follow."""
        return self._decoder.decode(b"", final=True)
