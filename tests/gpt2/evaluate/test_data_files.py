"""The data of an evaluation: local files, files on the hub, and rows with their places."""

import gzip
import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpt2.errors import DataError
from gpt2.evaluate.data_files import (
    HubFile,
    find_data,
    git_id_of,
    index_at,
    read_rows,
    text_at,
    texts_at,
)

Hub = Any  # of conftest.py

QUIZ = HubFile("someone/quiz", "default/validation")


def publish(hub: Hub) -> None:
    """Put a data set with two splits on the hub."""
    for split, text in (("train", "no"), ("validation", "yes")):
        path = hub.folder / "datasets/someone/quiz/default" / split / "0000.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table({"text": [text]}), path)
    (hub.folder / "datasets/someone/quiz/.gitattributes").write_text("text")


def test_local_files_are_named_with_their_checksums(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text("{}")
    (tmp_path / "a.jsonl").write_text("")
    files = find_data([str(tmp_path / "b.jsonl"), str(tmp_path / "*.jsonl")], QUIZ)
    assert [file.path.name for file in files] == ["b.jsonl", "a.jsonl"]
    assert files[0].checksum == hashlib.sha256(b"{}").hexdigest()
    assert files[0].name == str(tmp_path / "b.jsonl")


@pytest.mark.parametrize("large", [0, 2**20])
def test_without_words_the_split_on_the_hub_is_downloaded_once(
    hub_server: Hub, monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    hub_server.large = large  # an LFS file has a SHA-256, another one a git id
    publish(hub_server)
    [file] = find_data([], QUIZ)
    assert file.name == "someone/quiz/default/validation/0000.parquet"
    assert len(file.checksum) == (40 if large else 64)
    assert list(read_rows(file.path)) == [(f"{file.path}, row 1", {"text": "yes"})]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert find_data([], QUIZ) == [file]
    assert hub_server.asked == [".gitattributes", "0000.parquet"]


def test_a_file_of_the_cache_that_has_changed_is_named(hub_server: Hub) -> None:
    publish(hub_server)
    [file] = find_data([], QUIZ)
    file.path.write_bytes(b"x" * file.path.stat().st_size)
    with pytest.raises(DataError, match=f"{file.path} is damaged: its checksum must be "):
        find_data([], QUIZ)


def test_the_id_of_a_file_is_that_of_git(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"what is up, doc?")  # the example of Pro Git
    assert git_id_of(tmp_path / "file") == "bd9dbf5aae1a3862dd1526723246b20206e5fc37"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot read missing.jsonl: No such file"):
        find_data(["missing.jsonl"], QUIZ)
    with pytest.raises(DataError, match="the data must be given: name a file"):
        find_data([], None)
    with pytest.raises(DataError, match="cannot read .*: No such file"):
        list(read_rows(tmp_path / "missing.jsonl"))


def test_lines_are_numbered_with_the_empty_ones(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'\xef\xbb\xbf{"n": 1}\n\n{"n": 2}\r\n'))
    assert list(read_rows(path)) == [(f"{path}, line 1", {"n": 1}), (f"{path}, line 3", {"n": 2})]


def test_rows_of_parquet_are_numbered_across_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"n": [5, 6, 7]}), path, row_group_size=2)
    assert list(read_rows(path))[2] == (f"{path}, row 3", {"n": 7})


@pytest.mark.parametrize(
    ("line", "got"),
    [
        (b"[1]", "got [1]"),
        (b"plain", "got 'plain'"),
        (b"\xff", "got '�'"),
        (b'"' + b"x" * 90 + b'"', "xxx..."),
    ],
)
def test_a_line_that_is_no_object_is_named(tmp_path: Path, line: bytes, got: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"{}\n" + line)
    with pytest.raises(DataError) as raised:
        list(read_rows(path))
    assert str(raised.value).startswith(f"{path}, line 2 must be a JSON object, got ")
    assert str(raised.value).endswith(got)


ROW = {"text": "a", "texts": ["a", "b"], "index": 1, "label": "1", "odd": True, "big": 2}


def test_values_of_the_kind_that_is_wanted_are_returned() -> None:
    assert text_at("f, line 1", ROW, "text") == "a"
    assert texts_at("f, line 1", ROW, "texts") == ["a", "b"]
    assert index_at("f, line 1", ROW, "index", 2) == 1
    assert index_at("f, line 1", ROW, "label", 2) == 1


def test_other_values_are_named_with_their_place() -> None:
    place = "f, line 1"
    with pytest.raises(DataError, match="f, line 1 must have the key 'label2', it has text, texts"):
        text_at(place, ROW, "label2")
    with pytest.raises(DataError, match="f, line 1: 'texts' must be a text, got \\['a', 'b'\\]"):
        text_at(place, ROW, "texts")
    for key in ("text", "index"):
        with pytest.raises(DataError, match=f"f, line 1: '{key}' must be a list of texts, got "):
            texts_at(place, ROW, key)
    for key in ("text", "odd", "big", "texts"):
        with pytest.raises(DataError, match=f"f, line 1: '{key}' must be 0 to 1, got "):
            index_at(place, ROW, key, 2)


def test_a_column_of_times_beside_the_text_does_no_harm(tmp_path: Path) -> None:
    beyond_python = pa.array([2**62], pa.timestamp("us"))
    pq.write_table(pa.table({"when": beyond_python, "text": ["a"]}), tmp_path / "a.parquet")
    assert [row for _, row in read_rows(tmp_path / "a.parquet")] == [{"text": "a"}]


def test_a_column_that_is_no_utf_8_is_named(tmp_path: Path) -> None:
    bad = pa.array([b"\xff\xfe"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": bad}), tmp_path / "bad.parquet")
    with pytest.raises(DataError, match="bad.parquet must hold text in UTF-8"):
        list(read_rows(tmp_path / "bad.parquet"))
