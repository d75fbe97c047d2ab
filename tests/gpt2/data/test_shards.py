import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from gpt2.data.shards import open_shards, read_manifest, read_shard, write_shard
from gpt2.errors import DataError
from llm_tokenizer import Tokenizer


@pytest.fixture
def copied(shards: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shards, tmp_path / "copy"))


def test_a_shard_is_llm_cs_header_and_then_the_tokens(tmp_path: Path) -> None:
    write_shard(tmp_path / "x.bin", np.array([1, 2, 65535], np.uint16))
    content = (tmp_path / "x.bin").read_bytes()
    assert len(content) == 1024 + 6
    assert np.frombuffer(content[:16], "<i4").tolist() == [20240520, 1, 3, 0]
    assert content[16:1024] == bytes(1008)
    assert content[1024:] == b"\x01\x00\x02\x00\xff\xff"


def test_tokens_come_back(tmp_path: Path) -> None:
    write_shard(tmp_path / "x.bin", np.arange(1000, dtype=np.uint16))
    assert np.array_equal(read_shard(tmp_path / "x.bin"), np.arange(1000))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is not a token shard"),
        (bytes(1024), "is not a token shard: wanted magic 20240520"),
        (np.array([20240520, 1, 3] + [0] * 253, "<i4").tobytes() + b"\0" * 4, "is damaged"),
    ],
)
def test_a_file_that_is_no_whole_shard_is_named(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(DataError, match=f"x.bin {told}"):
        read_shard(tmp_path / "x.bin")


def test_the_manifest_survives_its_file(shards: Path) -> None:
    manifest = read_manifest(shards)
    assert manifest.source == "the license"
    entries = json.loads((shards / "manifest.json").read_text())
    assert json.loads(json.dumps(dataclasses.asdict(manifest))) == entries


def test_a_folder_without_shards_is_told_with_the_command_that_makes_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no token shards .* gpt2 prepare SOURCE --out"):
        open_shards(tmp_path)


def test_a_damaged_manifest_is_named(copied: Path) -> None:
    (copied / "manifest.json").write_text("[]")
    with pytest.raises(DataError, match="manifest.json is not a manifest"):
        open_shards(copied)


def test_a_shard_that_is_not_the_listed_one_is_named(copied: Path) -> None:
    write_shard(copied / "val_000000.bin", np.array([1, 2, 3], np.uint16))
    with pytest.raises(DataError, match="val_000000.bin must hold the .* checksum is another"):
        open_shards(copied)


def test_one_flipped_bit_in_a_shard_is_found(copied: Path) -> None:
    content = bytearray((copied / "train_000000.bin").read_bytes())
    content[-1] ^= 1
    (copied / "train_000000.bin").write_bytes(content)
    with pytest.raises(DataError, match="train_000000.bin must hold"):
        open_shards(copied)


def test_another_tokenizer_beside_the_shards_is_refused(copied: Path) -> None:
    Tokenizer.train(["another text, another vocabulary"], 280).save(copied)
    with pytest.raises(DataError, match="made with another tokenizer"):
        open_shards(copied)
