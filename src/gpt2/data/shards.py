"""A token shard: a file of token ids that llm.c and modded-nanogpt read as it is.

It is a header of 256 little-endian int32 (magic number, version, number of tokens), then the ids
as little-endian uint16; `<|endoftext|>` opens each document, and a document may continue in the
next shard.

Source: the data files of llm.c, github.com/karpathy/llm.c, dev/data/data_common.py.
"""

import stat
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
import numpy.typing as npt

from gpt2.errors import DataError

MAGIC, VERSION, HEADER_INTS = 20240520, 1, 256
HEADER_BYTES = 4 * HEADER_INTS

Split = Literal["train", "val"]
SPLITS: tuple[Split, ...] = get_args(Split)
Tokens = npt.NDArray[np.uint16]


def header_of(tokens: int) -> bytes:
    """Return the header of a shard that holds this number of tokens."""
    header = np.zeros(HEADER_INTS, "<i4")
    header[:3] = MAGIC, VERSION, tokens
    return header.tobytes()


def read_shard(path: Path) -> Tokens:
    """Memory-map the tokens of one shard.

    Raises:
        DataError: The file is missing, is no shard, or is longer or shorter than its header states.
    """
    size, header = _size_and_header(path)
    if len(header) < HEADER_INTS or header[0] != MAGIC or header[1] != VERSION:
        raise DataError(f"{path} is not a token shard: wanted magic {MAGIC} and version {VERSION}")
    expected = HEADER_BYTES + 2 * int(header[2])
    if size != expected or header[2] <= 0:
        raise DataError(
            f"{path} is damaged: its header promises {header[2]} tokens, {expected} bytes in all, "
            f"got {size} bytes; prepare the data again"
        )
    return np.memmap(path, "<u2", "r", HEADER_BYTES)


def read_foreign_shard(path: Path) -> Tokens:
    """Memory-map the tokens of a file that another program wrote.

    Args:
        path: A shard of llm.c or modded-nanogpt, which are those of this project; nanoGPT's
            train.bin or val.bin, uint16 ids and nothing else; or build-nanogpt's .npy.
    Raises:
        DataError: The file cannot be read, or is of another kind.
    """
    size, header = _size_and_header(path)
    if path.suffix == ".npy":
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except Exception as error:  # of many kinds: numpy parses the header as Python
            reason = str(error).partition("\n")[0]
            raise DataError(f"{path} is damaged: {reason}") from None
        if not isinstance(array, np.ndarray):
            raise DataError(f"{path} must hold uint16 ids, it is an archive of arrays")
        if array.dtype != np.uint16 or array.ndim != 1 or len(array) == 0:
            raise DataError(f"{path} must hold uint16 ids, got {array.dtype} of {array.shape}")
        return cast(Tokens, array)
    raw = path.name in ("train.bin", "val.bin") and size > 0 and size % 2 == 0
    if raw and (len(header) == 0 or header[0] != MAGIC):
        return np.memmap(path, "<u2", "r")
    return read_shard(path)


def _size_and_header(path: Path) -> tuple[int, npt.NDArray[np.int32]]:
    """Return the size of a file in bytes, and its first HEADER_INTS integers."""
    try:
        described = path.stat()
        if not stat.S_ISREG(described.st_mode):  # to open a named pipe would wait without end
            raise DataError(f"cannot read the shard {path}: it is no regular file")
        return described.st_size, np.fromfile(path, "<i4", HEADER_INTS)
    except OSError as error:
        raise DataError(f"cannot read the shard {path}: {error.strerror}") from None
