import os
import struct
from pathlib import Path

import numpy as np
import pytest

from gpt2.data.shards import header_of, read_foreign_shard, read_shard
from gpt2.errors import DataError


def write_shard(path: Path, tokens: list[int]) -> None:
    path.write_bytes(header_of(len(tokens)) + np.array(tokens, "<u2").tobytes())


def test_a_header_is_llm_cs() -> None:
    header = header_of(3)
    assert len(header) == 1024
    assert np.frombuffer(header[:16], "<i4").tolist() == [20240520, 1, 3, 0]
    assert header[16:] == bytes(1008)


def test_tokens_come_back(tmp_path: Path) -> None:
    write_shard(tmp_path / "x.bin", [1, 2, 65535])
    for read in (read_shard, read_foreign_shard):
        assert read(tmp_path / "x.bin").tolist() == [1, 2, 65535]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is not a token shard"),
        (bytes(1024), "is not a token shard: wanted magic 20240520"),
        (header_of(3) + b"\0" * 4, "is damaged"),
        (header_of(0), "is damaged"),
        # llm.c's shards of Llama 3's ids, which are uint32
        (np.array([20240801, 7, 1] + [0] * 254, "<i4").tobytes(), "is not a token shard"),
    ],
)
def test_a_file_that_is_no_whole_shard_is_named(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "x.bin").write_bytes(content)
    for read in (read_shard, read_foreign_shard):
        with pytest.raises(DataError, match=f"x.bin {told}"):
            read(tmp_path / "x.bin")


def test_nanogpts_file_is_ids_and_nothing_else(tmp_path: Path) -> None:
    for tokens in ([5, 50256, 7], [9] * 3000):
        np.array(tokens, np.uint16).tofile(tmp_path / "train.bin")
        assert read_foreign_shard(tmp_path / "train.bin").tolist() == tokens


def test_build_nanogpts_file_is_an_array(tmp_path: Path) -> None:
    path = tmp_path / "edufineweb_train_000001.npy"
    np.save(path, np.array([50256, 4], np.uint16))
    assert read_foreign_shard(path).tolist() == [50256, 4]
    np.save(path, np.array([50256, 4], np.int64))
    with pytest.raises(DataError, match=r"must hold uint16 ids, got int64 of \(2,\)"):
        read_foreign_shard(path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(DataError, match="is damaged"):
        read_foreign_shard(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="is damaged"):
        read_foreign_shard(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read the shard .*x.bin: No such file"):
        read_shard(tmp_path / "x.bin")


@pytest.mark.parametrize("count", [-1, -256, -(2**31), 0])
def test_a_header_without_a_positive_count_is_damage(tmp_path: Path, count: int) -> None:
    header = np.zeros(256, "<i4")
    header[:3] = 20240520, 1, count
    (tmp_path / "x.bin").write_bytes(header.tobytes())
    with pytest.raises(DataError, match=f"x.bin is damaged: its header promises {count} tokens"):
        read_shard(tmp_path / "x.bin")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("name", ["train.bin", "train.npy"])
def test_a_named_pipe_is_refused_at_once(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    for read in (read_shard, read_foreign_shard):
        with pytest.raises(DataError, match=f"cannot read the shard .*{name}: it is no regular"):
            read(tmp_path / name)


def npy(header: bytes, content: bytes = b"\0" * 64) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        npy(b"{'descr': '<u2', 'fortran_order': False, 'shape': (-5,), }\n"),
        npy(b"{'descr': '<u2', 'fortran_order': False, 'shape': (10**30,), }\n"),
        npy(b"{'descr': '<u2', 'fortran_order': False, 'shape': (%d,), }\n" % 10**30),
        npy(b"{'descr': '<u2', 'fortran_order': False, 'shape': (500,), }\n"),
        npy(b"{'descr': '<u2', 'fortran_order': False, 'shape': 'abc', }\n"),
        npy(b"{'descr': 'x', 'fortran_order': False, 'shape': (2,), }\n"),
        npy(b"{'descr': '<u2', 'fortran_order': False, 'shape': (2,2), }\n"),
        npy(b"{'descr': '<u2', 'fortran_order': False, 'shape': (), }\n"),
        npy(b"{'descr': '|O', 'fortran_order': False, 'shape': (2,), }\n"),
        npy(b"{'descr': '>u2', 'fortran_order': False, 'shape': (2,), }\n"),
        npy(b"((((\n"),
        npy(b"{'''\n"),
        npy(b"\xff\xfe\n"),
        npy(b"[]\n"),
        npy(b"{}\n"),
    ],
)
def test_a_damaged_npy_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"train.npy (is damaged|must hold uint16 ids)"):
        read_foreign_shard(tmp_path / "train.npy")


def test_an_archive_named_npy_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "train.npy").open("wb") as file:
        np.savez(file, a=np.zeros(3, np.uint16))
    with pytest.raises(DataError, match=r"train.npy must hold uint16 ids"):
        read_foreign_shard(tmp_path / "train.npy")
