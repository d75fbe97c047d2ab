"""Reference: the readable path from text to ids and back, with a cache of pieces."""

from collections.abc import Iterable
from functools import cached_property, lru_cache
from operator import index

from llm_tokenizer.errors import UnknownTokenError
from llm_tokenizer.merging import Merge, Pair, merge_with_heap
from llm_tokenizer.splitter import split, well_formed
from llm_tokenizer.vocabulary import Vocabulary

CACHED_PIECES = 2**17
LONGEST_CACHED_PIECE = 64  # characters: bounds the cache's memory, and longer pieces hardly recur


class Reference:
    """Text to ids and back for one vocabulary. Many threads may use it at once."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._byte_ids = [vocabulary.token_ids[bytes([byte])] for byte in range(256)]
        self._cached = lru_cache(CACHED_PIECES)(self._encode_text_piece)

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""
        ids: list[int] = []
        for piece in split(well_formed(text)):
            short = len(piece) <= LONGEST_CACHED_PIECE
            ids.extend(self._cached(piece) if short else self._encode_text_piece(piece))
        return ids

    def encode_piece(self, piece: bytes) -> list[int]:
        """Return the ids of one piece."""
        return merge_with_heap([self._byte_ids[byte] for byte in piece], self._merges)

    def token_bytes(self, ids: Iterable[int]) -> list[bytes]:
        """Return the bytes of each id.

        Raises:
            UnknownTokenError: An id that the vocabulary does not hold.
            TypeError: An id that is not a whole number.
        """
        try:
            bytes_of_id = self._vocabulary.bytes_of_id
            return [bytes_of_id[index(i)] for i in ids]
        except KeyError as error:
            i, n_vocab = error.args[0], self._vocabulary.largest_id + 1
            gap = "; no token has this id: unused_ids lists all such" if 0 <= i < n_vocab else ""
            raise UnknownTokenError(
                f"token id {i} is not in this vocabulary of {n_vocab}{gap}"
            ) from None

    def _encode_text_piece(self, piece: str) -> list[int]:
        return self.encode_piece(piece.encode())

    @cached_property
    def _merges(self) -> dict[Pair, Merge]:
        ids = self._vocabulary.token_ids
        return {
            (ids[left], ids[right]): Merge(rank, ids[left + right])
            for rank, (left, right) in enumerate(self._vocabulary.merges)
        }
