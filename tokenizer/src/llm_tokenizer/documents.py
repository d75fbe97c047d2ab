"""Many texts as one run of UTF-8 and the places where each begins and ends."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from llm_tokenizer.errors import TokenizerError
from llm_tokenizer.splitter import well_formed

if TYPE_CHECKING:
    import pyarrow as pa

In = TypeVar("In")
Out = TypeVar("Out")

OFFSET_TYPES = {"string": np.int32, "large_string": np.int64}  # of Arrow's two layouts of strings


def utf8_of(
    documents: "pa.StringArray | Sequence[str]", num_threads: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return the bytes of all documents, and bounds: document k lies from bounds[k] to bounds[k+1].

    Args:
        documents: An Arrow array, of which no byte is copied, or strings.
        num_threads: How many threads share the work of checking an Arrow array, at least 1.
    Raises:
        TokenizerError: A document is null or not UTF-8, an Arrow array is not one of strings or in
            chunks, or a single string was given.
    """
    if hasattr(documents, "chunks"):
        raise TokenizerError(
            "documents must be one Arrow array, got one in chunks; go through .chunks, or combine "
            "them with .combine_chunks()"
        )
    if hasattr(documents, "buffers"):
        return _of_arrow(documents, num_threads)
    if isinstance(documents, str):
        raise TokenizerError("documents must be several texts; put a single one in a list")
    documents = list(documents)  # which may be an iterator, and may be gone through twice
    try:
        texts = list(map(str.encode, documents))
    except (TypeError, UnicodeEncodeError):
        texts = _with_care(documents)
    bounds = np.fromiter(accumulate(map(len, texts), initial=0), np.int64, len(texts) + 1)
    return np.frombuffer(b"".join(texts), np.uint8), bounds


def _with_care(documents: Sequence[str]) -> list[bytes]:
    """Encode texts of which one is no text, or no well-formed text."""
    for k, text in enumerate(documents):
        if not isinstance(text, str):
            raise TokenizerError(f"document {k} must be a string, got {type(text).__name__}")
    return [well_formed(text).encode() for text in documents]


def _of_arrow(array: Any, num_threads: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Read an Arrow array's buffers. Source: Arrow columnar format 1.5, variable-size binary."""
    if str(array.type) not in OFFSET_TYPES:
        raise TokenizerError(
            f"documents must be an Arrow array of type string or large_string, got {array.type}; "
            "array.cast('large_string') makes one of most"
        )
    if array.null_count:
        first = array.is_null().index(True).as_py()
        raise TokenizerError(f"document {first} is null; array.fill_null('') makes it empty")
    _, offsets, content = array.buffers()
    share = max(1, -(-len(array) // num_threads))
    parts = [array.slice(first, share) for first in range(0, len(array), share)]
    if not all(in_threads(_is_utf8, parts, num_threads)):
        wrong = next(k for k in range(len(array)) if not _is_utf8(array.slice(k, 1)))
        raise TokenizerError(f"document {wrong} is not UTF-8")
    if len(array) == 0:
        return np.empty(0, np.uint8), np.zeros(1, np.int64)
    bounds = np.frombuffer(offsets, OFFSET_TYPES[str(array.type)])
    bounds = bounds[array.offset : array.offset + len(array) + 1].astype(np.int64)
    utf8 = np.empty(0, np.uint8) if content is None else np.frombuffer(content, np.uint8)
    return utf8, bounds


def _is_utf8(array: Any) -> bool:
    try:
        array.validate(full=True)
    except ValueError:
        return False
    return True


def in_threads(do: Callable[[In], Out], items: Sequence[In], num_threads: int) -> list[Out]:
    """Return `do` of each item; threads are started only where there are several."""
    if num_threads == 1:
        return [do(item) for item in items]
    with ThreadPoolExecutor(num_threads) as threads:
        return list(threads.map(do, items))
