"""What a vocabulary is: the bytes of every token, their ids, and the merges in order.

GPT-2 numbers its tokens so: 256 single bytes in the order of `BYTE_ORDER`, then one token a merge,
then the special tokens. Other vocabularies may number them in any way.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from llm_tokenizer.errors import TokenizerError, cut, shown
from llm_tokenizer.splitter import fits_in_a_piece, well_formed

END_OF_TEXT = "<|endoftext|>"

# The bytes that print as themselves in Latin-1 come first, then the others: the order of the
# characters that stand for them in vocab.json and merges.txt. Source: OpenAI, gpt-2, encoder.py.
_PRINTABLE = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), 256)]
BYTE_ORDER = bytes(_PRINTABLE + [byte for byte in range(256) if byte not in _PRINTABLE])
_SHOWN_AS = {byte: chr(byte) for byte in _PRINTABLE} | {
    byte: chr(256 + i) for i, byte in enumerate(BYTE_ORDER[len(_PRINTABLE) :])
}
_BYTE_OF = {character: byte for byte, character in _SHOWN_AS.items()}


def show_bytes(token: bytes) -> str:
    """Return the token as vocab.json and merges.txt write it, one printable character a byte.

    >>> show_bytes(b" caf\\xc3\\xa9")
    'ĠcafÃ©'
    """
    return token.decode("latin-1").translate(_SHOWN_AS)


def parse_bytes(text: str) -> bytes:
    """Return the bytes of a token as `show_bytes` writes them.

    Raises:
        TokenizerError: A character stands for no byte.
    """
    try:
        return bytes(_BYTE_OF[character] for character in text)
    except KeyError as error:
        raise TokenizerError(
            f"{shown(text)} is not a byte-level token: {error.args[0]!r} stands for no byte"
        ) from None


def _is_well_formed(text: object) -> bool:
    return isinstance(text, str) and text == well_formed(text)


@dataclass(frozen=True)
class Vocabulary:
    """The tokens and merges of a byte-level byte-pair encoding."""

    token_ids: Mapping[bytes, int]  # every token but the special ones
    merges: Sequence[tuple[bytes, bytes]]  # in the order they were learned
    special_tokens: Mapping[str, int]

    def __post_init__(self) -> None:
        if missing := [byte for byte in range(256) if bytes([byte]) not in self.token_ids]:
            raise TokenizerError(
                "a byte-level vocabulary has a token for each of the 256 bytes, "
                f"this one lacks {len(missing)}, the first {missing[0]:#04x}"
            )
        if b"" in self.token_ids:
            raise TokenizerError(
                f"a token must have one byte at least, token {self.token_ids[b'']} has none"
            )
        if wrong := [text for text in self.special_tokens if not _is_well_formed(text)]:
            raise TokenizerError(f"a special token must be well-formed text, got {shown(wrong[0])}")
        if wrong := [text for text in self.special_tokens if not text or self._is_token(text)]:
            raise TokenizerError(
                f"a special token must have a text that no other token has, got {shown(wrong[0])}"
            )
        ids = [*self.token_ids.values(), *self.special_tokens.values()]
        if wrong_ids := [i for i in ids if type(i) is not int or not 0 <= i < 2**32]:
            raise TokenizerError(
                "an id must be a whole number, at least 0 and below 2**32, "
                f"got {shown(wrong_ids[0])}"
            )
        if len(set(ids)) != len(ids):
            twice = next(i for i, count in Counter(ids).items() if count > 1)
            raise TokenizerError(f"every token must have an id of its own, {twice} is given twice")
        for number, (left, right) in enumerate(self.merges, start=1):
            for token in (left, right, left + right):
                if token not in self.token_ids:
                    raise TokenizerError(
                        f"merge {number}, {cut(show_bytes(left))} {cut(show_bytes(right))}, needs "
                        f"the token {cut(show_bytes(token))}, which the vocabulary does not have"
                    )

    def _is_token(self, text: str) -> bool:
        try:
            return parse_bytes(text) in self.token_ids
        except TokenizerError:
            return False

    @cached_property
    def largest_id(self) -> int:
        """The largest id of all tokens; where ids have gaps, more than the number of tokens - 1."""
        return max(max(self.token_ids.values()), max(self.special_tokens.values(), default=0))

    @cached_property
    def foreign_token(self) -> bytes | None:
        """A token that GPT-2's split rule never yields, so another rule is meant; None if none."""
        return next((token for token in self.token_ids if not fits_in_a_piece(token)), None)

    @property
    def id_bytes(self) -> int:
        """The bytes that an id takes in an array: 2, or 4 where an id is too large for that."""
        return 2 if self.largest_id < 2**16 else 4

    @cached_property
    def bytes_of_id(self) -> Mapping[int, bytes]:
        """The bytes of every token, special or not."""
        bytes_of_id = {i: token for token, i in self.token_ids.items()}
        return bytes_of_id | {i: text.encode() for text, i in self.special_tokens.items()}

    def __hash__(self) -> int:  # quick to compute, for caches; a mapping has none
        return hash((len(self.token_ids), len(self.merges), len(self.special_tokens)))

    @classmethod
    def from_merges(
        cls, merges: Sequence[tuple[bytes, bytes]], special_tokens: Iterable[str] = ()
    ) -> "Vocabulary":
        """Number the tokens as GPT-2 does: bytes, merges, special tokens."""
        tokens = [bytes([byte]) for byte in BYTE_ORDER] + [left + right for left, right in merges]
        token_ids = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
        specials = {
            text: len(token_ids) + i for i, text in enumerate(dict.fromkeys(special_tokens))
        }
        return cls(token_ids, merges, specials)
