"""How is a token written in an answer, and at which character of the text does it begin?"""

import codecs
from collections.abc import Iterable

from llm_tokenizer import Tokenizer
from llm_tokenizer.errors import UnknownTokenError


class TokenStrings:
    """How tokens are written in log-probabilities.

    Args:
        tokenizer: What the ids mean.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._strings: dict[int, str] = {}

    def bytes_of(self, token: int) -> bytes:
        """Return the bytes of a token; none where the vocabulary does not have it."""
        try:
            return self._tokenizer.decode_single_token_bytes(token)
        except UnknownTokenError:
            return b""

    def text_of(self, tokens: Iterable[int]) -> str:
        """Return the text of some tokens; U+FFFD where their bytes are no characters."""
        return b"".join(map(self.bytes_of, tokens)).decode(errors="replace")

    def __getitem__(self, token: int) -> str:
        """Return how a token is written."""
        if token not in self._strings:
            token_bytes = self.bytes_of(token)
            self._strings[token] = written(token_bytes) if token_bytes else by_id(token)
        return self._strings[token]


def written(token: bytes) -> str:
    r"""Return the characters of a token; its bytes if they are no whole characters.

    >>> written(b" the"), written(b"\xe2\x80")
    (' the', 'bytes:\\xe2\\x80')

    Source: the answers of OpenAI's API.
    """
    try:
        return token.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token)


def by_id(token: int) -> str:
    """Return how a token is written by its id.

    >>> by_id(464)
    'token_id:464'
    """
    return f"token_id:{token}"


class Places:
    """Where in a text each token begins: characters before it.

    A token that begins within a character is at that character.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._place = 0  # characters that are known

    def next(self, token: bytes) -> int:
        """Return the place of the next token."""
        is_within = bool(self._decoder.getstate()[0])
        first = self._decoder.decode(token[:1])
        # What does not go on with a character comes after U+FFFD in its place.
        breaks = is_within and (token[:1] < b"\x80" or token[:1] >= b"\xc0" or len(first) > 1)
        place = self._place + (breaks and token != b"")
        self._place += len(first) + len(self._decoder.decode(token[1:]))
        return place

    def end(self) -> None:
        """Begin another text after this one: what lacks bytes is a character now."""
        self._place += len(self._decoder.decode(b"", final=True))
        self._decoder.reset()
