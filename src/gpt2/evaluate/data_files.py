"""The data of an evaluation: which files they are, and their rows, each with its place."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gpt2.checksums import sha256_of
from gpt2.errors import DataError
from gpt2.prepare.file_formats import is_parquet, line_blocks, named
from gpt2.prepare.local_files import each_once, find_files
from gpt2.prepare.sources import SourceFile, find

PARQUET_FORM = "refs/convert/parquet"  # the branch where the hub keeps each data set as parquet
GIT_ID_DIGITS = 40  # of a SHA-1; a SHA-256 has 64

DataRow = Mapping[str, Any]


@dataclass(frozen=True)
class HubFile:
    """A split of a data set on the hub."""

    repository: str  # owner/name
    folder: str  # configuration and split, such as "default/validation"


@dataclass(frozen=True)
class DataFile:
    """A file on this machine."""

    path: Path
    checksum: str  # SHA-256; of a small file from the hub its git id
    name: str  # its path, or where it is on the hub


def find_data(words: Sequence[str], hub: HubFile | None) -> list[DataFile]:
    """Return the files that a user names or, with no words, those on the hub.

    Args:
        words: Paths and globs of files and folders on this machine.
        hub: What to download into the cache of huggingface_hub if there are no words.
    Raises:
        DataError: There is no such file, it cannot be downloaded, or it is damaged.
    """
    if words:
        paths = each_once(path for word in words for path in find_files(word).files)
        return [_local_file(path) for path in paths]
    if hub is None:
        raise DataError("the data must be given: name a file")
    source = find(hub.repository, subset=hub.folder, revision=PARQUET_FORM)
    return [_downloaded(hub.repository, file) for file in source.files]


def read_rows(path: Path) -> Iterator[tuple[str, DataRow]]:
    """Yield the rows of a file of JSON lines or parquet, each after its place, "FILE, line 3".

    Args:
        path: The file; JSON lines may be compressed by gzip or zstd.
    Raises:
        DataError: The file cannot be read, or a line is no JSON object.
    """
    with named(path):
        yield from _parquet_rows(path) if is_parquet(path.name) else _json_rows(path)


def text_at(place: str, row: DataRow, key: str) -> str:
    """Return the text of a row at a key.

    Raises:
        DataError: The row has none; the place is named.
    """
    value = value_at(place, row, key)
    if not isinstance(value, str):
        raise DataError(f"{place}: {key!r} must be a text, got {_short(value)}")
    return value


def texts_at(place: str, row: DataRow, key: str) -> list[str]:
    """Return the list of texts of a row at a key, which is not empty.

    Raises:
        DataError: The row has none; the place is named.
    """
    value = value_at(place, row, key)
    if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
        raise DataError(f"{place}: {key!r} must be a list of texts, got {_short(value)}")
    return value


def index_at(place: str, row: DataRow, key: str, count: int) -> int:
    """Return the index of a row at a key, 0 to count - 1; it may be written as a text.

    Raises:
        DataError: The row has none; the place is named.
    """
    value = value_at(place, row, key)
    number = int(value) if isinstance(value, str) and value.isdecimal() else value
    if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < count:
        raise DataError(f"{place}: {key!r} must be 0 to {count - 1}, got {_short(value)}")
    return number


def value_at(place: str, row: DataRow, key: str) -> Any:
    """Return what a row has at a key.

    Raises:
        DataError: The row has no such key; the place is named.
    """
    if key not in row:
        raise DataError(f"{place} must have the key {key!r}, it has {', '.join(row) or 'none'}")
    return row[key]


def _local_file(path: Path) -> DataFile:
    with named(path):
        return DataFile(path, sha256_of(path), path.as_posix())


def _downloaded(repository: str, file: SourceFile) -> DataFile:
    path = file.fetch()
    assert isinstance(path, Path)  # of a data set on the hub
    with named(path):
        found = git_id_of(path) if len(file.checksum) == GIT_ID_DIGITS else sha256_of(path)
    if found != file.checksum:
        raise DataError(
            f"{path} is damaged: its checksum must be {file.checksum}, as on the hub, and is "
            f"{found}; remove it and start again"
        )
    return DataFile(path, found, f"{repository}/{file.name}")


def git_id_of(path: Path) -> str:
    """Return the id that git has for a file's content, as the hub has it for small files.

    Source: Pro Git, 10.2 Git Objects: the SHA-1 of "blob SIZE", a NUL and the content.
    """
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _json_rows(path: Path) -> Iterator[tuple[str, DataRow]]:
    number = 0
    for lines, _ in line_blocks(path):
        for line in lines:
            number += 1
            if line.strip():
                place = f"{path}, line {number}"
                yield place, _json_object(place, line)


def _json_object(place: str, line: bytes) -> DataRow:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):  # no JSON or no UTF-8, or nested without end
        row = line.decode(errors="replace")
    if not isinstance(row, dict):
        raise DataError(f"{place} must be a JSON object, got {_short(row)}")
    return row


def _parquet_rows(path: Path) -> Iterator[tuple[str, DataRow]]:
    number = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            for row in _python_rows(path, batch):
                number += 1
                yield f"{path}, row {number}", row


def _python_rows(path: Path, batch: pa.RecordBatch) -> list[DataRow]:
    """Return the rows of a batch; columns of times, which Python may not hold, are left out."""
    kinds = batch.schema.types
    columns = [i for i, kind in enumerate(kinds) if not pa.types.is_temporal(kind)]
    try:
        return list(batch.select(columns).to_pylist())
    except UnicodeDecodeError:
        raise DataError(f"{path} must hold text in UTF-8, and has other bytes") from None


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
