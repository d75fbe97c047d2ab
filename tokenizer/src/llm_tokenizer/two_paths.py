"""Which path encodes and decodes: the reference, or the compiled codec?

They give the same: `reference` is there to be read; `codec` is many times as fast, but slower to
load than a short text is to encode. So a process begins with the first, and switches when it has
encoded enough text.
"""

import sys
from collections.abc import Collection, Iterable
from itertools import pairwise
from threading import Lock
from typing import TYPE_CHECKING

from llm_tokenizer.reference import Reference
from llm_tokenizer.vocabulary import Vocabulary

if TYPE_CHECKING:  # these take longer to load than all the rest: only where they are needed
    import numpy as np
    import numpy.typing as npt

    from llm_tokenizer.codec import Codec

    Ids = npt.NDArray[np.unsignedinteger]

WORTH_LOADING = 2**20  # characters: about as many as the reference encodes while the codec loads
FEW_IDS = 256  # fewer are decoded by the reference before the codec has been called


class TwoPaths:
    """Text to ids and back for one vocabulary. Many threads may use it at once."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.reference = Reference(vocabulary)
        self.codec: Codec | None = None
        self._vocabulary = vocabulary
        self._loading = Lock()
        self._characters_seen = 0

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""
        codec = self.codec_for(len(text))
        return codec.encode_to_list(text) if codec else self.reference.encode(text)

    def encode_to_array(self, text: str | bytes) -> "Ids":
        """Return the ids of a text, or of bytes; what is not UTF-8 there is read as U+FFFD."""
        codec = self.codec_for(len(text))
        if not isinstance(text, str):
            if codec and (ids := codec.encode_utf8(text)) is not None:
                return ids
            text = text.decode("utf-8", "replace")
        return codec.encode(text) if codec else self._array(self.reference.encode(text))

    def encode_documents(
        self,
        utf8: "npt.NDArray[np.uint8]",
        bounds: "npt.NDArray[np.int64]",
        num_threads: int,
        opener: int | None,
    ) -> "tuple[Ids, npt.NDArray[np.int64]]":
        """Return the ids of several texts, and where those of each begin, as `Codec` does."""
        import numpy as np

        if codec := self.codec_for(int(bounds[-1] - bounds[0])):
            return codec.encode_documents(utf8, bounds, num_threads, opener)
        before = [] if opener is None else [opener]
        encoded = [
            before + self.reference.encode(utf8[first:last].tobytes().decode())
            for first, last in pairwise(bounds)
        ]
        offsets = np.cumsum([0, *map(len, encoded)])
        return self._array([i for ids in encoded for i in ids]), offsets

    def encode_batch(self, texts: list[str], num_threads: int) -> list[list[int]]:
        """Return the ids of each text."""
        codec = self.codec_for(sum(map(len, texts)))
        if codec is None:
            return [self.reference.encode(text) for text in texts]
        from llm_tokenizer.documents import utf8_of

        array, offsets = codec.encode_documents(*utf8_of(texts, num_threads), num_threads)
        ids = codec.to_list(array)
        return [ids[first:last] for first, last in pairwise(offsets.tolist())]

    def decode(self, tokens: Iterable[int]) -> bytes:
        """Return the bytes of ids.

        Raises:
            UnknownTokenError: An id that the vocabulary does not hold.
        """
        if not isinstance(tokens, Collection) or isinstance(tokens, bytes | bytearray):
            tokens = list(tokens)
        codec = self.codec_for(len(tokens) // 8)  # the reference decodes 8 while it encodes 1
        decoded = codec.decode(tokens) if codec and len(tokens) >= FEW_IDS else None
        if decoded is None:  # if an id is at fault, the reference tells which
            decoded = b"".join(self.reference.token_bytes(tokens))
        return decoded

    def codec_for(self, characters: int) -> "Codec | None":
        """Return the codec if it is loaded or if loading it for so much more text pays."""
        if self.codec is None:
            with self._loading:  # of several threads at once, one loads it
                self._characters_seen += characters
                if self.codec is None and self._is_worth_loading():
                    from llm_tokenizer.codec import Codec, fits
                    from llm_tokenizer.compile_notice import announce_compiling

                    announce_compiling()
                    if fits(self._vocabulary):
                        self.codec = Codec(self._vocabulary, self.reference.encode_piece)
        return self.codec

    def _is_worth_loading(self) -> bool:
        return self._characters_seen >= WORTH_LOADING or "llm_tokenizer.codec" in sys.modules

    def _array(self, ids: list[int]) -> "Ids":
        import numpy as np

        return np.array(ids, f"u{self._vocabulary.id_bytes}")
