"""Token shards: files of token ids that llm.c and modded-nanogpt read as they are.

A shard is a header of 256 little-endian int32 (magic number, version, number of tokens), then the
ids as little-endian uint16; `<|endoftext|>` opens each document. Beside the shards lie the
tokenizer's files and `manifest.json`, which makes the folder complete: it is written last.

Source: the data files of llm.c, github.com/karpathy/llm.c, dev/data/data_common.py.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gpt2.errors import DataError
from llm_tokenizer import Tokenizer
from llm_tokenizer.text_files import write_whole

MAGIC, VERSION, HEADER_INTS = 20240520, 1, 256
HEADER_BYTES = 4 * HEADER_INTS
MANIFEST_FILE = "manifest.json"

Split = Literal["train", "val"]
Tokens = npt.NDArray[np.uint16]


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A row of the manifest: what one shard file holds."""

    file: str
    split: Split
    tokens: int
    documents: int
    bytes: int  # of UTF-8 text, which the document openers are not part of
    sha256: str  # of the whole file


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a folder of shards holds, and where it came from."""

    source: str
    tokenizer_fingerprint: str
    shards: tuple[Shard, ...]

    @property
    def fingerprint(self) -> str:
        """A checksum over the tokens of every shard, in order."""
        return hashlib.sha256("".join(shard.sha256 for shard in self.shards).encode()).hexdigest()

    def of(self, split: Split) -> list[Shard]:
        """Return the shards of one split, in order."""
        return [shard for shard in self.shards if shard.split == split]


def write_shard(path: Path, tokens: Tokens) -> str:
    """Write one shard, whole or not at all, and return the sha256 of the file."""
    header = np.zeros(HEADER_INTS, "<i4")
    header[:3] = MAGIC, VERSION, len(tokens)
    content = header.tobytes() + tokens.astype("<u2", copy=False).tobytes()
    write_whole(path, content)
    return hashlib.sha256(content).hexdigest()


def read_shard(path: Path) -> Tokens:
    """Memory-map the tokens of one shard.

    Raises:
        DataError: The file is missing, is no shard, or is longer or shorter than it says.
    """
    try:
        size = path.stat().st_size
        header = np.fromfile(path, "<i4", HEADER_INTS)
    except OSError as error:
        raise DataError(f"cannot read the shard {path}: {error.strerror}") from None
    if len(header) < HEADER_INTS or header[0] != MAGIC or header[1] != VERSION:
        raise DataError(f"{path} is not a token shard: wanted magic {MAGIC} and version {VERSION}")
    expected = HEADER_BYTES + 2 * int(header[2])
    if size != expected or header[2] == 0:
        raise DataError(
            f"{path} is damaged: its header promises {header[2]} tokens, {expected} bytes in all, "
            f"got {size} bytes; prepare the data again"
        )
    return np.memmap(path, "<u2", "r", HEADER_BYTES)


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write manifest.json, whole or not at all."""
    content = json.dumps(asdict(manifest), indent=1).encode() + b"\n"
    write_whole(directory / MANIFEST_FILE, content)


def read_manifest(directory: Path) -> Manifest:
    """Read manifest.json.

    Raises:
        DataError: The folder holds no complete set of shards.
    """
    path = directory / MANIFEST_FILE
    try:
        entries: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Manifest(**entries | {"shards": tuple(Shard(**row) for row in entries["shards"])})
    except FileNotFoundError:
        raise DataError(
            f"{directory} holds no token shards (no {MANIFEST_FILE}); "
            f"make them with: gpt2 prepare SOURCE --out {directory}"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a manifest of token shards: {error!r}") from None


@dataclass(frozen=True)
class TokenData:
    """A folder of shards, opened."""

    manifest: Manifest
    tokenizer: Tokenizer
    train: list[Tokens]
    val: list[Tokens]


def open_shards(directory: Path) -> TokenData:
    """Open a folder that `gpt2 prepare` wrote; the tokens stay on disk until they are read.

    Raises:
        DataError: A shard is missing or damaged, or does not belong to the rest.
        TokenizerError: The vocabulary is missing or damaged.
    """
    manifest = read_manifest(directory)
    tokenizer = Tokenizer.load(directory)
    if tokenizer.fingerprint != manifest.tokenizer_fingerprint:
        raise DataError(f"{directory}: the shards were made with another tokenizer than lies there")

    def read(split: Split) -> list[Tokens]:
        return [_read_listed(directory, shard) for shard in manifest.of(split)]

    return TokenData(manifest, tokenizer, read("train"), read("val"))


def _read_listed(directory: Path, shard: Shard) -> Tokens:
    path = directory / shard.file
    tokens = read_shard(path)
    with path.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    if checksum != shard.sha256:
        raise DataError(
            f"{path} must hold the {shard.tokens} tokens that {MANIFEST_FILE} lists, its checksum "
            "is another; prepare the data again"
        )
    return tokens
