"""Tokenizer: text to token ids and back. Names and meanings are tiktoken's where it has them."""

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from llm_tokenizer import files, trainer
from llm_tokenizer.errors import TokenizerError, UnknownTokenError
from llm_tokenizer.merging import Merge, merge
from llm_tokenizer.splitter import split, well_formed
from llm_tokenizer.vocabulary import END_OF_TEXT, Vocabulary, show_bytes

if TYPE_CHECKING:  # numpy takes longer to load than all of this package: only where arrays are made
    import numpy as np
    import numpy.typing as npt

CACHED_PIECES = 2**17
LONGEST_CACHED_PIECE = 64  # characters: bounds the cache's memory, and longer pieces hardly recur


class Tokenizer:
    """A byte-level byte-pair encoding.

    >>> tokenizer = Tokenizer.gpt2()
    >>> tokenizer.encode("Hello, world")
    [15496, 11, 995]
    >>> tokenizer.decode([15496, 11, 995])
    'Hello, world'
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        ids = vocabulary.token_ids
        self._special_ids = {text.encode(): i for text, i in vocabulary.special_tokens.items()}
        self._bytes_of_id = {i: token for token, i in (*ids.items(), *self._special_ids.items())}
        self._byte_ids = [ids[bytes([byte])] for byte in range(256)]
        self._merges = {
            (ids[left], ids[right]): Merge(rank, ids[left + right])
            for rank, (left, right) in enumerate(vocabulary.merges)
        }
        self._encode_cached = lru_cache(CACHED_PIECES)(self._encode_piece)

    @classmethod
    def gpt2(cls) -> "Tokenizer":
        """Return the tokenizer of the released models; its vocabulary comes with the package."""
        return cls(files.read_gpt2())

    @classmethod
    def load(cls, directory: str | Path) -> "Tokenizer":
        """Read a folder with vocab.json and merges.txt, or else with tokenizer.json.

        Raises:
            TokenizerError: A file is missing or damaged.
        """
        return cls(files.read(Path(directory)))

    @classmethod
    def train(
        cls,
        texts: Iterable[str | Path],
        vocab_size: int,
        *,
        special_tokens: Iterable[str] = (END_OF_TEXT,),
        min_frequency: int = 2,
    ) -> "Tokenizer":
        """Learn a vocabulary from texts or from the files at paths; see `trainer.train`."""
        return cls(
            trainer.train(
                texts, vocab_size, special_tokens=special_tokens, min_frequency=min_frequency
            )
        )

    def save(self, directory: str | Path) -> None:
        """Write vocab.json and merges.txt, which `load` and Hugging Face transformers read."""
        files.write(self.vocabulary, Path(directory))

    @property
    def n_vocab(self) -> int:
        """The number of ids: one more than the largest."""
        return self.max_token_value + 1

    @cached_property
    def max_token_value(self) -> int:
        """The largest id."""
        return max(self._bytes_of_id)

    @property
    def eot_token(self) -> int:
        """The id of <|endoftext|>.

        Raises:
            UnknownTokenError: The vocabulary has no such token.
        """
        return self.encode_single_token(END_OF_TEXT)

    @property
    def special_tokens_set(self) -> set[str]:
        """The texts of the special tokens."""
        return set(self.vocabulary.special_tokens)

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of the vocabulary: equal if and only if tokens, ids and merges are."""
        tokens = sorted((i, token.hex()) for token, i in self.vocabulary.token_ids.items())
        merges = [(left.hex(), right.hex()) for left, right in self.vocabulary.merges]
        specials = sorted((i, text) for text, i in self.vocabulary.special_tokens.items())
        return hashlib.sha256(json.dumps([tokens, merges, specials]).encode()).hexdigest()

    def encode(
        self,
        text: str,
        *,
        allowed_special: Literal["all"] | Collection[str] = (),
        disallowed_special: Literal["all"] | Collection[str] = "all",
    ) -> list[int]:
        """Return the ids of `text`.

        Args:
            text: Any string; a lone surrogate is read as U+FFFD.
            allowed_special: Special tokens that become their id where they stand in the text.
            disallowed_special: Special tokens that may not stand in the text, allowed or not;
                "all" is all that are not allowed. One in neither set is ordinary text.
        Raises:
            TokenizerError: The text holds a disallowed special token.
        """
        specials = self.special_tokens_set
        allowed = specials if allowed_special == "all" else set(allowed_special)
        disallowed = specials - allowed if disallowed_special == "all" else set(disallowed_special)
        if found := _first_match(disallowed, text):
            raise TokenizerError(
                f"the text holds the special token {found!r}. To encode it as that token, pass "
                f"allowed_special={{{found!r}}}; to encode it as ordinary text, pass "
                f"disallowed_special=(); to be told of other special tokens only, pass "
                f"disallowed_special=tokenizer.special_tokens_set - {{{found!r}}}"
            )
        if not (allowed & specials):
            return self.encode_ordinary(text)
        ids: list[int] = []
        for part in re.split(f"({_alternatives(allowed & specials)})", text):
            if part in allowed & specials:
                ids.append(self.vocabulary.special_tokens[part])
            else:
                ids.extend(self.encode_ordinary(part))
        return ids

    def encode_ordinary(self, text: str) -> list[int]:
        """Return the ids of `text`, in which special tokens are text like any other."""
        ids: list[int] = []
        for piece in split(well_formed(text)):
            short = len(piece) <= LONGEST_CACHED_PIECE
            ids.extend(self._encode_cached(piece) if short else self._encode_piece(piece))
        return ids

    def encode_to_array(self, text: str | bytes) -> "npt.NDArray[np.unsignedinteger]":
        """Return `encode_ordinary` of a text, or of UTF-8 bytes, as an array.

        Returns:
            uint16 ids where the vocabulary fits, else uint32.
        """
        import numpy as np

        text = text if isinstance(text, str) else text.decode("utf-8", "replace")
        return np.array(self.encode_ordinary(text), self.dtype)

    @property
    def dtype(self) -> "type[np.unsignedinteger]":
        """The smallest of uint16 and uint32 that holds every id."""
        import numpy as np

        return np.uint16 if self.max_token_value <= np.iinfo(np.uint16).max else np.uint32

    def encode_single_token(self, text_or_bytes: str | bytes) -> int:
        """Return the id of one token, special or not.

        Raises:
            UnknownTokenError: The text is not one token.
        """
        if isinstance(text_or_bytes, str):
            token = well_formed(text_or_bytes).encode()
        else:
            token = text_or_bytes
        for known in (self._special_ids, self.vocabulary.token_ids):
            if token in known:
                return known[token]
        raise UnknownTokenError(
            f"{text_or_bytes!r} is not one token of this vocabulary of {self.n_vocab}"
        )

    def decode(self, ids: Iterable[int], errors: str = "replace") -> str:
        """Return the text of `ids`.

        Args:
            ids: Token ids; some stand for a part of a character only.
            errors: What becomes of bytes that are no UTF-8, as in `bytes.decode`.
        Raises:
            UnknownTokenError: An id that the vocabulary does not hold.
        """
        return self.decode_bytes(ids).decode("utf-8", errors)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Return the bytes of `ids`, whether UTF-8 or not.

        Raises:
            UnknownTokenError: An id that the vocabulary does not hold.
        """
        return b"".join(self._decode_each(ids))

    def decode_single_token_bytes(self, token: int) -> bytes:
        """Return the bytes of one id.

        Raises:
            UnknownTokenError: An id that the vocabulary does not hold.
        """
        return self.decode_bytes([token])

    def token_byte_values(self) -> list[bytes]:
        """Return the bytes of every token but the special ones, sorted."""
        return sorted(self.vocabulary.token_ids)

    def _decode_each(self, ids: Iterable[int]) -> Iterator[bytes]:
        for i in ids:
            try:
                yield self._bytes_of_id[int(i)]
            except KeyError:
                raise UnknownTokenError(
                    f"token id {i} is not in this vocabulary of {self.n_vocab}"
                ) from None

    def _encode_piece(self, piece: str) -> list[int]:
        return merge([self._byte_ids[byte] for byte in piece.encode()], self._merges)

    def __repr__(self) -> str:
        first = show_bytes(self._bytes_of_id.get(256, b""))
        return f"<Tokenizer n_vocab={self.n_vocab} first_merge={first!r}>"


def _first_match(specials: set[str], text: str) -> str | None:
    match = re.search(_alternatives(specials), text) if specials else None
    return match.group() if match else None


def _alternatives(specials: set[str]) -> str:
    # The longest first, so that one which begins another cannot hide it.
    return "|".join(re.escape(special) for special in sorted(specials, key=len, reverse=True))
