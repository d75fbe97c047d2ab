"""Tokenizer: text to token ids and back. Names and meanings are tiktoken's where it has them."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING

from llm_tokenizer import files, trainer
from llm_tokenizer.decode_stream import DecodeStream
from llm_tokenizer.errors import TokenizerError, UnknownTokenError, shown
from llm_tokenizer.special_tokens import Specials, are_usual, common_start, parts_of
from llm_tokenizer.splitter import well_formed
from llm_tokenizer.two_paths import TwoPaths
from llm_tokenizer.vocabulary import END_OF_TEXT, Vocabulary, show_bytes

if TYPE_CHECKING:  # these take longer to load than all the rest: only where they are needed
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Ids = npt.NDArray[np.unsignedinteger]


class Tokenizer:
    """A byte-level byte-pair encoding. Many threads may use one at once.

    >>> tokenizer = Tokenizer.gpt2()
    >>> tokenizer.encode("Hello, world")
    [15496, 11, 995]
    >>> tokenizer.decode([15496, 11, 995])
    'Hello, world'
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._paths = TwoPaths(vocabulary)

    @classmethod
    def gpt2(cls) -> "Tokenizer":
        """Return the tokenizer of the released models; its vocabulary comes with the package."""
        return cls(files.read_gpt2())

    @classmethod
    def load(cls, path: str | Path) -> "Tokenizer":
        """Read a vocabulary: see `files.read` for what may stand at `path`.

        Raises:
            TokenizerError: A file is missing, damaged, of another kind or of another split rule.
        """
        return cls(files.read(Path(path)))

    @classmethod
    def train(
        cls,
        texts: Iterable[str | Path],
        vocab_size: int,
        *,
        special_tokens: Iterable[str] = (END_OF_TEXT,),
        min_frequency: int = 2,
        show_progress: bool = False,
    ) -> "Tokenizer":
        """Learn a vocabulary from texts or from the files at paths; see `trainer.train`."""
        return cls(
            trainer.train(
                texts,
                vocab_size,
                special_tokens=special_tokens,
                min_frequency=min_frequency,
                show_progress=show_progress,
            )
        )

    def save(self, path: str | Path) -> None:
        """Write the vocabulary, which `load` reads: into a folder, or a .json or .tiktoken file.

        Hugging Face transformers read the folder and the .json file, tiktoken the .tiktoken file.

        Raises:
            TokenizerError: A .tiktoken file cannot hold this vocabulary; it tells why.
        """
        files.write(self.vocabulary, Path(path))

    @property
    def name(self) -> str:
        """ "gpt2" for the released vocabulary, "custom" for any other."""
        return "gpt2" if self.vocabulary == files.read_gpt2() else "custom"

    @property
    def n_vocab(self) -> int:
        """One more than the largest id: the embeddings that a model needs, gaps included."""
        return self.max_token_value + 1

    @property
    def max_token_value(self) -> int:
        """The largest id that has a token."""
        return self.vocabulary.largest_id

    @cached_property
    def unused_ids(self) -> tuple[int, ...]:
        """The ids below `n_vocab` that have no token, ascending: those that `decode` refuses.

        None in GPT-2's vocabulary and in those that `train` returns; a file may leave gaps. A model
        that generates text must not choose these ids.
        """
        used = self.vocabulary.bytes_of_id
        return tuple(i for i in range(self.n_vocab) if i not in used)

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

    @property
    def dtype(self) -> "type[np.unsignedinteger]":
        """The smallest of uint16 and uint32 that holds every id."""
        import numpy as np

        return np.uint16 if self.vocabulary.id_bytes == 2 else np.uint32

    def encode(
        self,
        text: str,
        *,
        allowed_special: Specials = (),
        disallowed_special: Specials = "all",
    ) -> list[int]:
        """Return the ids of `text`.

        Args:
            text: Any string; a lone surrogate is read as U+FFFD.
            allowed_special: Special tokens that become their id where they stand in the text.
            disallowed_special: Special tokens that may not stand in the text, allowed or not;
                "all" is all that are not allowed. One in neither set is ordinary text.
        Raises:
            TokenizerError: The text holds a disallowed special token, or a plain string was given
                in place of several special tokens.
        """
        if self._special_start not in text and are_usual(allowed_special, disallowed_special):
            return self.encode_ordinary(text)
        ids: list[int] = []
        specials = self.vocabulary.special_tokens
        for part in parts_of(text, specials, allowed_special, disallowed_special):
            ids.extend([part] if isinstance(part, int) else self.encode_ordinary(part))
        return ids

    def encode_to_numpy(
        self,
        text: str,
        *,
        allowed_special: Specials = (),
        disallowed_special: Specials = "all",
    ) -> "Ids":
        """Return `encode` of a text as an array: uint16 where the vocabulary fits, else uint32."""
        if self._special_start not in text and are_usual(allowed_special, disallowed_special):
            return self.encode_to_array(text)
        import numpy as np

        specials = self.vocabulary.special_tokens
        arrays = [
            np.array([part], self.dtype) if isinstance(part, int) else self.encode_to_array(part)
            for part in parts_of(text, specials, allowed_special, disallowed_special)
        ]
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)

    def encode_ordinary(self, text: str) -> list[int]:
        """Return the ids of `text`, in which special tokens are text like any other."""
        return self._paths.encode(text)

    def encode_to_array(self, text: str | bytes) -> "Ids":
        """Return `encode_ordinary` of a text, or of its UTF-8, as an array.

        Args:
            text: Any string or bytes; what is not UTF-8 is read as U+FFFD, as in `bytes.decode`.
        Returns:
            uint16 ids where the vocabulary fits, else uint32.
        """
        return self._paths.encode_to_array(text)

    def encode_documents(
        self,
        documents: "pa.StringArray | Sequence[str]",
        *,
        num_threads: int = 1,
        opener: int | None = None,
    ) -> "tuple[Ids, npt.NDArray[np.int64]]":
        """Return the ids of many texts in one array; special tokens are text like any other.

        Args:
            documents: An Arrow array of type string or large_string, whose bytes are read where
                they lie, or strings.
            num_threads: How many threads share the work at most, at least 1; little text needs one.
            opener: An id to put before those of each document, such as `eot_token`.
        Returns:
            The ids, as in `encode_to_array`, and offsets, one more than documents: those of
            document k are ids[offsets[k] : offsets[k + 1]].
        Raises:
            TokenizerError: A document is null or not UTF-8, the array is of another type or in
                chunks, a single string was given, or `num_threads` is less than 1.
            UnknownTokenError: The vocabulary does not hold `opener`.
        """
        from llm_tokenizer.documents import utf8_of

        if num_threads < 1:
            raise TokenizerError(f"num_threads must be at least 1, got {num_threads}")
        if opener is not None:
            self.decode_single_token_bytes(opener)  # raises if there is none
            opener = index(opener)  # for another type, Numba would compile the kernel anew
        utf8, bounds = utf8_of(documents, num_threads)
        return self._paths.encode_documents(utf8, bounds, num_threads, opener)

    def encode_batch(
        self,
        text: Sequence[str],
        *,
        num_threads: int = 8,
        allowed_special: Specials = (),
        disallowed_special: Specials = "all",
    ) -> list[list[int]]:
        """Return `encode` of each text.

        Args:
            text: The texts.
            num_threads: As for `encode_ordinary_batch`.
            allowed_special: As for `encode`.
            disallowed_special: As for `encode`.
        Raises:
            TokenizerError: As for `encode`; a single string was given; `num_threads` is below 1.
        """
        texts = _several(text, num_threads)
        start, usual = self._special_start, are_usual(allowed_special, disallowed_special)
        with_special = {
            k: self.encode(
                one, allowed_special=allowed_special, disallowed_special=disallowed_special
            )
            for k, one in enumerate(texts)
            if not usual or start in one
        }
        others = [one for k, one in enumerate(texts) if k not in with_special]
        ids = iter(self.encode_ordinary_batch(others, num_threads=num_threads))
        return [with_special[k] if k in with_special else next(ids) for k in range(len(texts))]

    def encode_ordinary_batch(
        self, text: Sequence[str], *, num_threads: int = 8
    ) -> list[list[int]]:
        """Return `encode_ordinary` of each text.

        Args:
            text: The texts.
            num_threads: How many threads share the work at most, at least 1; little text needs one.
        Raises:
            TokenizerError: A single string was given, or `num_threads` is below 1.
        """
        return self._paths.encode_batch(_several(text, num_threads), num_threads)

    def encode_single_token(self, text_or_bytes: str | bytes) -> int:
        """Return the id of one token, special or not.

        Raises:
            UnknownTokenError: The text is not one token.
        """
        text = text_or_bytes
        token = well_formed(text).encode() if isinstance(text, str) else text
        for known in (self._special_ids, self.vocabulary.token_ids):
            if token in known:
                return known[token]
        raise UnknownTokenError(
            f"{shown(text)} is not one token of this vocabulary of {self.n_vocab}"
        )

    def is_special_token(self, token: int) -> bool:
        """Return whether an id is that of a special token."""
        return token in self.vocabulary.special_tokens.values()

    def decode(self, tokens: Iterable[int], errors: str = "replace") -> str:
        """Return the text of ids.

        Args:
            tokens: Token ids; some stand for a part of a character only.
            errors: What becomes of bytes that are not UTF-8, as in `bytes.decode`.
        Raises:
            UnknownTokenError: An id that the vocabulary does not hold.
        """
        return self.decode_bytes(tokens).decode("utf-8", errors)

    def decode_bytes(self, tokens: Iterable[int]) -> bytes:
        """Return the bytes of ids, whether UTF-8 or not.

        Raises:
            UnknownTokenError: An id that the vocabulary does not hold.
        """
        return self._paths.decode(tokens)

    def decode_tokens_bytes(self, tokens: Iterable[int]) -> list[bytes]:
        """Return the bytes of each id.

        Raises:
            UnknownTokenError: An id that the vocabulary does not hold.
        """
        return self._paths.reference.token_bytes(tokens)

    def decode_batch(
        self, batch: Sequence[Iterable[int]], *, errors: str = "replace", num_threads: int = 8
    ) -> list[str]:
        """Return `decode` of each of several sequences of ids.

        `num_threads` is there for programs that pass it to tiktoken: one thread decodes as fast as
        several, as each has to hold Python's lock for most of the time.
        """
        return [part.decode("utf-8", errors) for part in self.decode_bytes_batch(batch)]

    def decode_bytes_batch(
        self, batch: Sequence[Iterable[int]], *, num_threads: int = 8
    ) -> list[bytes]:
        """Return `decode_bytes` of each of several sequences of ids; see `decode_batch`."""
        return [self.decode_bytes(tokens) for tokens in batch]

    def decode_stream(self) -> DecodeStream:
        """Return what decodes the ids of one text while they come, in whole characters.

        >>> stream = Tokenizer.gpt2().decode_stream()
        >>> [stream.add(token) for token in (220, 33768, 98, 17312, 105)], stream.finish()
        ([' ', '', '日', '', '本'], '')
        """
        return DecodeStream(self.decode_single_token_bytes)

    def decode_with_offsets(self, tokens: Iterable[int]) -> tuple[str, list[int]]:
        """Return the text of ids, and for each the place in it where the token begins.

        The place is that of a character: for a token that begins within one, of that character.

        Raises:
            UnknownTokenError: An id that the vocabulary does not hold.
            UnicodeDecodeError: The tokens together are not UTF-8.
        """
        offsets, characters = [], 0
        parts = self._paths.reference.token_bytes(tokens)
        for part in parts:
            begins = [byte & 0xC0 != 0x80 for byte in part]  # all bytes except continuations
            offsets.append(max(0, characters - (not begins[0])))
            characters += sum(begins)
        return b"".join(parts).decode("utf-8"), offsets

    def decode_single_token_bytes(self, token: int) -> bytes:
        """Return the bytes of one id.

        Raises:
            UnknownTokenError: An id that the vocabulary does not hold.
        """
        return self._paths.reference.token_bytes([token])[0]

    def token_byte_values(self) -> list[bytes]:
        """Return the bytes of every token but the special ones, sorted."""
        return sorted(self.vocabulary.token_ids)

    @cached_property
    def _special_start(self) -> str:
        """What all special tokens begin with: a text without it holds none of them."""
        return common_start(self.vocabulary.special_tokens)

    @cached_property
    def _special_ids(self) -> dict[bytes, int]:
        return {text.encode(): i for text, i in self.vocabulary.special_tokens.items()}

    def __reduce__(self) -> tuple[type["Tokenizer"], tuple[Vocabulary]]:
        # What is copied or sent to another process begins anew: the codec holds addresses.
        return type(self), (self.vocabulary,)

    def __repr__(self) -> str:
        first = show_bytes(self.vocabulary.bytes_of_id.get(256, b""))
        return f"<Tokenizer n_vocab={self.n_vocab} first_merge={first!r}>"


def _several(texts: Iterable[str], num_threads: int) -> list[str]:
    if num_threads < 1:
        raise TokenizerError(f"num_threads must be at least 1, got {num_threads}")
    if isinstance(texts, str):
        raise TokenizerError("text must be several texts; put a single one in a list")
    return list(texts)
