"""A file of text to documents, in batches that the same file always gives.

A batch is what is read, tokenized and, after a restart, skipped at once. The file's name decides
the format: parquet, JSON lines, or plain text, the last two also compressed by gzip or zstd.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gpt2.config import PrepareConfig
from gpt2.errors import DataError
from llm_tokenizer import TokenizerError, well_formed
from llm_tokenizer.splitter import last_cut
from llm_tokenizer.text_files import CUT_WITHIN, PART_BYTES, parts_of

BATCH_BYTES = 2**23  # of text, about; more where one row or line is longer
# Rows of parquet that are decoded at once. Their size is not known before, as a text that recurs
# may be stored once. Few enough that long rows fit in memory; many enough that usual ones make a
# batch by themselves, since joining arrays costs a third of the pace of two threads.
DECODED_ROWS = 256

COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}
JSON_SUFFIXES = (".jsonl", ".json", ".ndjson")
PARQUET_SUFFIX, TEXT_SUFFIX = ".parquet", ".txt"
BYTE_ORDER_MARK = "\ufeff".encode()

# Called with (k, n): whether piece k of the n equal pieces of a file belongs to the part to read.
PartFilter = Callable[[int, int], bool]


def batching() -> list[int]:
    """Return what decides the borders of batches, and so what an offset in a file means."""
    return [BATCH_BYTES, DECODED_ROWS, PART_BYTES, CUT_WITHIN]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Documents that follow one another in a file."""

    documents: pa.Array  # of type string or large_string, none null, empty or malformed
    skipped: Counter[str] = field(default_factory=Counter)  # rows by what they are: "empty", ...
    continues: bool = False  # the first text continues the last document of the batch before
    done: float  # share of the file that has been read with this batch, 0 to 1
    end: int = 0  # rows of parquet up to its end; of other formats, batches


def is_text_file(name: str) -> bool:
    """Return whether a file with this name is read when its folder is named."""
    return _stem(name).endswith((TEXT_SUFFIX, *JSON_SUFFIXES)) or is_parquet(name)


def has_rows(name: str) -> bool:
    """Return whether a file with this name holds rows, as JSON lines or parquet."""
    return _stem(name).endswith(JSON_SUFFIXES) or is_parquet(name)


def read(path: Path, config: PrepareConfig, *, start: int, in_part: PartFilter) -> Iterator[Batch]:
    """Yield the documents of a file.

    Args:
        path: The file.
        config: Which column holds the text, and what separates documents.
        start: Where to begin, the `end` of a batch; 0 for the whole file.
        in_part: Which pieces of the file to read: its row groups if it is parquet, else the whole
            file is one piece.
    Raises:
        DataError: The file cannot be read, is damaged, is no text, or has no such column.
    """
    with named(path):
        if is_parquet(path.name):
            yield from _parquet(path, config.text_column, start, in_part)
        elif in_part(0, 1):
            lines = _stem(path.name).endswith(JSON_SUFFIXES)
            reader = _json_lines if lines else _plain_text
            for end, batch in enumerate(reader(path, config), 1):
                if end > start:
                    yield replace(batch, end=end)


def read_texts(texts: Sequence[str], *, start: int, in_part: PartFilter) -> Iterator[Batch]:
    """Yield documents that are in memory, as those of a file."""
    if in_part(0, 1) and start == 0:
        yield replace(_batch_of(texts, done=1.0), end=1)


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file.

    Raises:
        DataError: The file cannot be read, is empty, or is not text.
    """
    with named(path), closing(_OpenedText(path)) as file:
        text = "".join(_text_parts(file, path))
    if not text.strip():
        raise DataError(f"{path} is empty: wanted some text")
    return text


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Turn a failure to read a file into an error that names it."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise DataError(f"cannot read {path}: {reason}") from None


def _parquet(path: Path, column: str, start: int, in_part: PartFilter) -> Iterator[Batch]:
    # Buffered and not read ahead: a row group of gigabytes takes no more memory than a batch.
    with pq.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
        schema = file.schema_arrow
        if column not in schema.names:
            raise _no_column(path, column, schema.names)
        if schema.names.count(column) > 1:
            raise DataError(f"{path} must have one column {column!r}, it has several")
        text_type = _text_type(path, schema.field(column))
        groups = file.metadata.num_row_groups
        end = 0  # rows
        for group in range(groups):
            first, after = end, end + file.metadata.row_group(group).num_rows
            if not in_part(group, groups) or after <= start:
                end = after
                continue
            parts, held = [], 0  # bytes
            for texts in _decoded(file, group, column):
                end += len(texts)
                if end <= start:
                    continue
                parts.append(texts if texts.type == text_type else texts.cast(text_type))
                held += parts[-1].nbytes
                if end == after or held >= BATCH_BYTES // 8:
                    whole = parts[0] if len(parts) == 1 else pa.concat_arrays(parts)
                    done = (group + (end - first) / (after - first)) / groups
                    yield replace(_without_empty(whole, done), end=end)
                    parts, held = [], 0


def _decoded(file: pq.ParquetFile, group: int, column: str) -> Iterator[pa.Array]:
    """Yield the values of a column of a row group, a few at a time."""
    for batch in file.iter_batches(DECODED_ROWS, [group], [column], use_threads=False):
        values = batch.column(0)
        rows = max(1, len(values) * BATCH_BYTES // max(values.nbytes, BATCH_BYTES))
        for first in range(0, len(values), rows):
            yield values.slice(first, rows)


def _text_type(path: Path, column: pa.Field) -> pa.DataType:
    """Return the type to read a column of text as."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return kind
    if pa.types.is_string_view(kind):
        return pa.large_string()
    raise DataError(f"{path}: the column {column.name!r} must hold text, it holds {column.type}")


def _without_empty(texts: pa.Array, done: float) -> Batch:
    """Return a batch of the rows that have text, and count the others."""
    skipped = Counter({"null": texts.null_count})
    texts = texts.drop_null() if texts.null_count else texts
    filled = pc.greater(pc.binary_length(texts), 0)
    if empty := len(texts) - (filled.true_count or 0):
        skipped["empty"] = empty
        texts = texts.filter(filled)
    if not _is_utf8(texts):
        good = pa.array([_is_utf8(texts.slice(k, 1)) for k in range(len(texts))])
        skipped["not text"] = len(texts) - (good.true_count or 0)
        texts = texts.filter(good)
    return Batch(documents=texts, skipped=+skipped, done=done)


def _is_utf8(texts: pa.Array) -> bool:
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _json_lines(path: Path, config: PrepareConfig) -> Iterator[Batch]:
    key = config.text_column
    for number, (lines, done) in enumerate(line_blocks(path)):
        rows = [_json_object(line) for line in lines if line.strip()]
        objects = [row for row in rows if row is not None]
        if number == 0 and rows and not any(key in row for row in objects):
            if not objects:
                raise DataError(f"{path} must hold a JSON object a line; its first lines are none")
            raise _no_column(path, key, list(objects[0]))
        values = [row.get(key) for row in objects]
        texts = [value for value in values if isinstance(value, str)]
        null = values.count(None)
        odd = len(rows) - len(texts) - null  # lines that are no object, and values that are no text
        yield _batch_of(texts, done=done, skipped=Counter({"null": null, "not text": odd}))


def _json_object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):  # no JSON or no UTF-8, or nested without end
        return None
    return value if isinstance(value, dict) else None


def line_blocks(path: Path) -> Iterator[tuple[list[bytes], float]]:
    """Yield the lines of a file, many at a time, and the share of it that has been read."""
    with closing(_Opened(path)) as file:
        rest: list[bytes] = []  # of a line that is not complete
        at_start = True
        while block := file.read(BATCH_BYTES):
            if at_start:
                block, at_start = block.removeprefix(BYTE_ORDER_MARK), False
            *lines, last = block.split(b"\n")
            if lines:
                yield [b"".join([*rest, lines[0]]), *lines[1:]], file.done()
                rest = []
            rest.append(last)
        yield [b"".join(rest)], 1.0


def _plain_text(path: Path, config: PrepareConfig) -> Iterator[Batch]:
    separator = config.separator
    held = ""  # the end of the text so far, which may continue in the next part
    continues = False  # the beginning of the document in `held` was yielded before
    yielded = False  # anything was
    with closing(_OpenedText(path)) as file:
        for part in _text_parts(file, path):
            text = held + part
            *texts, held = text.split(separator) if separator else [text]
            if continues and texts and not texts[0]:  # all of the document was yielded before
                del texts[0]
                continues = False
            # A document may be longer than memory: yield what no later text can change.
            if cut := _safe_cut(held, separator):
                texts.append(held[:cut])
                held = held[cut:]
            if texts:
                yield _batch_of(texts, done=file.done(), continues=continues)
                continues, yielded = cut > 0, True
        if held or not yielded:
            yield _batch_of([held], done=1.0, continues=continues)


def _text_parts(file: "_Opened", path: Path) -> Iterator[str]:
    """Yield the text of a file in parts that have the ids of the whole."""
    try:
        yield from parts_of(file, str(path))  # type: ignore[arg-type] # all it needs is read
    except TokenizerError as error:
        raise DataError(str(error)) from None


def _safe_cut(text: str, separator: str | None) -> int:
    """Return where to cut a text that is long enough: whatever follows, it has the same ids."""
    if separator is None:  # `parts_of` cut it at such a place
        return len(text)
    if len(text) < BATCH_BYTES:
        return 0
    sure = len(text) - len(separator) + 1  # from there on, a separator may begin
    first = max(0, sure - CUT_WITHIN)
    cut = last_cut(text[first:sure])
    return first + cut if cut else 0


def _batch_of(
    texts: Sequence[str],
    *,
    done: float,
    skipped: Counter[str] | None = None,
    continues: bool = False,
) -> Batch:
    filled = [text for text in texts if text]
    counts = Counter({"empty": len(texts) - len(filled)}) + (skipped or Counter())
    try:
        array = pa.array(filled, pa.large_string())
    except UnicodeEncodeError:  # of a lone surrogate, as JSON may have it
        array = pa.array(map(well_formed, filled), pa.large_string())
    return Batch(documents=array, skipped=counts, continues=continues, done=done)


def _no_column(path: Path, column: str, names: Sequence[str]) -> DataError:
    return DataError(
        f"{path} has no column {column!r}; choose with --text-column one of {', '.join(names)}"
    )


def is_parquet(name: str) -> bool:
    return name.lower().endswith(PARQUET_SUFFIX)


def _stem(name: str) -> str:
    """Return a file's name in lower case, without the suffix of a compression."""
    name = name.lower()
    for suffix in COMPRESSIONS:
        name = name.removesuffix(suffix)
    return name


class _Opened:
    """The bytes of a file, decompressed, and how much of it has been read."""

    def __init__(self, path: Path) -> None:
        self._size = path.stat().st_size
        self._raw = pa.OSFile(os.fsencode(path))  # a name may be no UTF-8
        compression = COMPRESSIONS.get(path.suffix.lower())
        self._stream = (
            pa.CompressedInputStream(self._raw, compression) if compression else self._raw
        )

    def read(self, size: int) -> bytes:
        return self._stream.read(size)

    def done(self) -> float:
        return min(1.0, self._raw.tell() / max(self._size, 1))

    def close(self) -> None:
        self._stream.close()
        self._raw.close()


class _OpenedText(_Opened):
    """The bytes of a file that must be text."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._path = path
        self._given = 0  # bytes

    def read(self, size: int) -> bytes:
        block = super().read(size)
        if (place := block.find(0)) >= 0:
            raise DataError(
                f"{self._path} must be text: byte {self._given + place} is NUL, as in binary files"
            )
        self._given += len(block)
        return block
