import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2.config import PrepareConfig
from gpt2.errors import DataError
from gpt2.prepare import file_formats
from gpt2.prepare.file_formats import Batch, is_text_file, read, read_text
from llm_tokenizer import Tokenizer


def read_all(path: Path, *, start: int = 0, **settings: Any) -> list[Batch]:
    return list(
        read(path, PrepareConfig(**settings), start=start, in_part=lambda piece, pieces: True)
    )


def documents_of(batches: list[Batch]) -> list[str]:
    """Return the documents, each put together from its parts."""
    documents: list[str] = []
    for batch in batches:
        texts = batch.documents.to_pylist()
        if batch.continues:
            documents[-1] += texts.pop(0)
        documents += texts
    return documents


def skipped_of(batches: list[Batch]) -> Counter[str]:
    return sum((batch.skipped for batch in batches), Counter())


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpt2.prepare.file_formats.BATCH_BYTES", 200)
    monkeypatch.setattr("gpt2.prepare.file_formats.DECODED_ROWS", 3)
    monkeypatch.setattr("llm_tokenizer.text_files.PART_BYTES", 64)


def write_parquet(path: Path, column: pa.Array, **options: Any) -> None:
    other = pa.array([f"http://{k}" for k in range(len(column))])
    pq.write_table(pa.table({"url": other, "text": column}), path, **options)


TEXTS = [f"document {k} " * (k % 7 + 1) for k in range(60)]


@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary", "string_view"])
@pytest.mark.parametrize("group_rows", [7, 1000])
def test_parquet_gives_the_rows_of_a_column_in_order(
    tmp_path: Path, kind: str, group_rows: int, small_batches: None
) -> None:
    column = pa.array(TEXTS)
    column = column.dictionary_encode() if kind == "dictionary" else column.cast(kind)
    write_parquet(tmp_path / "x.parquet", column, row_group_size=group_rows, compression="zstd")
    batches = read_all(tmp_path / "x.parquet")
    assert len(batches) > 8
    assert documents_of(batches) == TEXTS
    assert [b.done for b in batches] == sorted(b.done for b in batches)
    assert batches[-1].done == 1.0


def test_rows_without_a_text_are_left_out_and_counted(tmp_path: Path) -> None:
    broken = pa.array([b"a", None, b"", b"b\xff", b"c", b""]).view("string")
    write_parquet(tmp_path / "x.parquet", broken)
    batches = read_all(tmp_path / "x.parquet")
    assert documents_of(batches) == ["a", "c"]
    assert skipped_of(batches) == {"null": 1, "empty": 2, "not text": 1}


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (pa.array([1, 2]), "the column 'text' must hold text, it holds int64"),
        (pa.array([["a"], ["b"]]), r"must hold text, it holds list<.*string>"),
    ],
)
def test_a_column_that_holds_no_text_is_refused(
    tmp_path: Path, column: pa.Array, told: str
) -> None:
    write_parquet(tmp_path / "x.parquet", column)
    with pytest.raises(DataError, match=told):
        read_all(tmp_path / "x.parquet")


def test_a_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    table = pa.table([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(DataError, match="must have one column 'text', it has several"):
        read_all(tmp_path / "x.parquet")


def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    write_parquet(tmp_path / "x.parquet", pa.array(["a"]))
    (tmp_path / "x.jsonl").write_text('{"url": "a", "body": "b"}\n')
    for name, known in (("x.parquet", "url, text"), ("x.jsonl", "url, body")):
        told = f"has no column 'content'; choose with --text-column one of {known}"
        with pytest.raises(DataError, match=told):
            read_all(tmp_path / name, text_column="content")


def test_a_damaged_parquet_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_parquet(path, pa.array(TEXTS), compression="zstd")
    whole = path.read_bytes()
    page = whole.rindex(b"\x28\xb5\x2f\xfd")  # zstd's magic number, in the column of text
    broken = whole[:page] + bytes(16) + whole[page + 16 :]
    for content in (b"no parquet at all", whole[: len(whole) // 2], broken):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"cannot read .*x\.parquet: ") as raised:
            read_all(path)
        assert "\n" not in str(raised.value)


LINES = [
    {"text": "a"},
    {"text": "ü\ud800\n"},
    {"text": ""},
    {"text": None},
    {"other": 1},
    {"text": 5},
    [1],
    {"text": "b"},
]


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.json.gz", "x.jsonl.zst", "x.ndjson.gz"])
def test_json_lines_give_the_texts_of_a_key(tmp_path: Path, name: str, small_batches: None) -> None:
    lines = [*map(json.dumps, LINES), "no JSON", "", '{"text": "c"}']
    write(tmp_path / name, "\n".join(lines).encode())
    batches = read_all(tmp_path / name)
    assert documents_of(batches) == ["a", "ü\ufffd\n", "b", "c"]
    assert skipped_of(batches) == {"empty": 1, "null": 2, "not text": 3}


def write(path: Path, content: bytes) -> None:
    """Write a file, compressed as its name says, in two frames, as concatenated files are."""
    compress = {".gz": gzip.compress, ".zst": pa.Codec("zstd").compress}.get(path.suffix)
    half = len(content) // 2
    parts = [content] if compress is None else map(compress, (content[:half], content[half:]))
    path.write_bytes(b"".join(bytes(part) for part in parts))


def test_a_file_of_json_that_is_no_lines_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('[\n{"text": "a"},\n{"text": "b"}\n]')
    batches = read_all(tmp_path / "x.json")  # a line of it is an object all the same
    assert documents_of(batches) == ["b"]
    (tmp_path / "x.json").write_bytes(b"\x89PNG\r\n\x1a\n\0")
    with pytest.raises(DataError, match="x.json must hold a JSON object a line"):
        read_all(tmp_path / "x.json")


@pytest.mark.parametrize("name", ["x.jsonl.gz", "x.txt.zst"])
def test_a_file_whose_compression_breaks_off_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write(path, b'{"text": "abcdefgh"}\n' * 100)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DataError, match=f"cannot read .*{name}: Truncated"):
        read_all(path)


@pytest.mark.parametrize("name", ["x.txt", "x.md", "x.txt.gz", "x.txt.zst"])
def test_a_text_file_is_a_document_or_is_cut_where_the_separator_stands(
    tmp_path: Path, name: str
) -> None:
    write(tmp_path / name, b"one\n%\ntwo\n\nlines\n%\n\n%\n \n%\nlast\n%\n")
    path = tmp_path / name
    assert documents_of(read_all(path)) == ["one\n%\ntwo\n\nlines\n%\n\n%\n \n%\nlast\n%\n"]
    batches = read_all(path, separator="\n%\n")
    assert documents_of(batches) == ["one", "two\n\nlines", " ", "last"]
    assert skipped_of(batches) == {"empty": 1}
    assert documents_of(read_all(path, separator="\n"))[:3] == ["one", "%", "two"]


def test_a_long_document_comes_in_parts_that_have_the_ids_of_the_whole(
    tmp_path: Path, small_batches: None
) -> None:
    text = "It's a long document, isn't it?  12345 naïve 日本語 \n\n" * 40
    (tmp_path / "x.txt").write_text(text, encoding="utf-8")
    batches = read_all(tmp_path / "x.txt")
    assert len(batches) > 5
    assert documents_of(batches) == [text]
    tokenizer = Tokenizer.gpt2()
    ids = [i for b in batches for part in b.documents.to_pylist() for i in tokenizer.encode(part)]
    assert ids == tokenizer.encode(text)


@given(
    st.lists(st.text(alphabet="ab \n%é", max_size=300), max_size=12),
    st.sampled_from(["\n%\n", "%", "\n", "ab"]),
)
def test_cutting_at_the_separator_is_that_of_the_whole_text(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str], separator: str
) -> None:
    path = tmp_path_factory.mktemp("text") / "x.txt"
    text = separator.join(parts)
    path.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gpt2.prepare.file_formats.BATCH_BYTES", 40)
        patch.setattr("llm_tokenizer.text_files.PART_BYTES", 16)
        batches = read_all(path, separator=separator)
    assert documents_of(batches) == [document for document in text.split(separator) if document]


@pytest.mark.parametrize("name", ["x.parquet", "x.jsonl", "x.txt"])
def test_the_batches_after_some_are_the_same_as_before(
    tmp_path: Path, name: str, small_batches: None
) -> None:
    path = tmp_path / name
    if name == "x.parquet":
        write_parquet(path, pa.array(TEXTS), row_group_size=25)
    else:
        lines = TEXTS if name == "x.txt" else [json.dumps({"text": text}) for text in TEXTS]
        path.write_text("\n".join(lines) + "\n")
    whole = read_all(path, separator="\n")
    assert len(whole) > 5
    for number in range(1, len(whole) + 1):
        rest = read_all(path, separator="\n", start=whole[number - 1].end)
        assert [b.documents for b in rest] == [b.documents for b in whole[number:]]
        assert [b.end for b in rest] == [b.end for b in whole[number:]]


@pytest.mark.parametrize(
    ("name", "known"),
    [("a.txt", True), ("a.jsonl.zst", True), ("a.json.gz", True), ("a.parquet", True),
     ("a.txt.gz", True), ("a.parquet.gz", False), ("a.py", False), ("a.zst", False)],
)  # fmt: skip
def test_files_in_folders_are_chosen_by_their_names(name: str, known: bool) -> None:
    assert is_text_file(name) is known


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot read .*: No such file"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"abc\xff", "must be UTF-8 text: byte 3 is not"),
        ("é\0c".encode(), "byte 2 is NUL, as in binary files"),
    ],
)
def test_a_file_that_is_no_text_is_named(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=told) as raised:
        read_text(path)
    assert "text.txt" in str(raised.value)


def test_a_text_that_is_stored_once_takes_no_more_memory_for_each_time(tmp_path: Path) -> None:
    text = "word " * (file_formats.BATCH_BYTES // 20)
    column = pa.array([text]).dictionary_encode().take(pa.array([0] * 1000))
    write_parquet(tmp_path / "x.parquet", column.cast("string"))
    assert (tmp_path / "x.parquet").stat().st_size < 2 * len(text)
    batches = read_all(tmp_path / "x.parquet")
    assert {len(b.documents) * len(text) // file_formats.BATCH_BYTES for b in batches} <= {0, 1}
    assert sum(len(b.documents) for b in batches) == 1000


def test_a_long_row_or_line_is_a_batch_of_its_own(tmp_path: Path) -> None:
    long = "word " * (file_formats.BATCH_BYTES // 2)
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in ("a", long, "b")))
    assert documents_of(read_all(path)) == ["a", long, "b"]


def test_suffixes_in_upper_case_are_the_same_formats(tmp_path: Path) -> None:
    write_parquet(tmp_path / "A.PARQUET", pa.array(["a"]))
    line = json.dumps({"text": "a"}).encode()
    (tmp_path / "B.JSONL").write_bytes(line)
    (tmp_path / "C.Txt.GZ").write_bytes(gzip.compress(b"a"))
    (tmp_path / "D.JSON.gz").write_bytes(gzip.compress(line))
    for path in tmp_path.iterdir():
        assert documents_of(read_all(path)) == ["a"]


BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize("separator", [None, "\n"])
@pytest.mark.parametrize("content", ["first\nsecond", "\nx", "x\ufeffy", ""])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_byte_order_mark_at_the_start_is_no_text(
    tmp_path: Path, separator: str | None, content: str, compressed: bool
) -> None:
    found = []
    for mark in (b"", BYTE_ORDER_MARK):
        path = tmp_path / ("x.txt.gz" if compressed else "x.txt")
        text = mark + content.encode()
        path.write_bytes(gzip.compress(text) if compressed else text)
        batches = read_all(path, separator=separator)
        found.append((documents_of(batches), skipped_of(batches)))
    assert found[0] == found[1]


@pytest.mark.parametrize("first", ['{"text": "a"}', "", "  ", "no JSON"])
def test_a_byte_order_mark_is_no_part_of_a_json_line(tmp_path: Path, first: str) -> None:
    found = []
    for mark in (b"", BYTE_ORDER_MARK):
        path = tmp_path / "x.jsonl"
        path.write_bytes(mark + f'{first}\n{{"text": "b"}}\n'.encode())
        batches = read_all(path)
        found.append((documents_of(batches), skipped_of(batches)))
    assert found[0] == found[1]
    assert found[0][0][-1] == "b"


def test_a_wrong_byte_after_a_byte_order_mark_is_named_by_its_place_in_the_file(
    tmp_path: Path,
) -> None:
    (tmp_path / "x.txt").write_bytes(BYTE_ORDER_MARK + b"ab\xff")
    with pytest.raises(DataError, match="byte 5 is not"):
        read_all(tmp_path / "x.txt")


def test_the_text_of_a_file_has_no_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(BYTE_ORDER_MARK + b"ab")
    assert read_text(tmp_path / "x.txt") == "ab"
