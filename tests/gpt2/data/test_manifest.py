import dataclasses
import json
import random
import shutil
from pathlib import Path

import pytest

from gpt2.data.manifest import find_faults, read_manifest, write_manifest
from gpt2.errors import DataError


@pytest.fixture
def copied(shards: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shards, tmp_path / "copy"))


def test_the_manifest_survives_its_file(shards: Path, tmp_path: Path) -> None:
    manifest = read_manifest(shards)
    changed = dataclasses.replace(
        manifest, source="ü", revision="abc", skipped={"null": 3}, settings={"part": "1/2"}
    )
    write_manifest(tmp_path, changed)
    assert read_manifest(tmp_path) == changed


def test_the_manifest_tells_source_tokenizer_and_each_shard(shards: Path) -> None:
    entries = json.loads((shards / "manifest.json").read_text())
    assert entries["source"] == "the license"
    assert len(entries["tokenizer_fingerprint"]) == 64
    assert [row["file"] for row in entries["shards"]] == ["train_000000.bin", "val_000000.bin"]
    assert entries["shards"][0].keys() >= {"tokens", "documents", "sha256"}


def test_a_damaged_manifest_is_named(copied: Path) -> None:
    (copied / "manifest.json").write_text("[]")
    with pytest.raises(DataError, match=r"manifest.json is not a manifest"):
        read_manifest(copied)


def test_what_is_whole_has_no_faults(shards: Path) -> None:
    assert find_faults(shards) == []


def test_one_flipped_byte_anywhere_is_found_and_its_file_named(copied: Path) -> None:
    chosen = random.Random(0)
    for path in sorted(copied.iterdir()):
        content = path.read_bytes()
        for place in {0, len(content) - 1, *chosen.sample(range(len(content)), 40)}:
            changed = bytearray(content)
            changed[place] ^= chosen.randrange(1, 256)
            path.write_bytes(changed)
            if path.name == "manifest.json":
                with pytest.raises(DataError, match=r"manifest.json"):
                    find_faults(copied)
            else:
                assert any(path.name in fault for fault in find_faults(copied)), (path, place)
        path.write_bytes(content)
    assert find_faults(copied) == []


def test_missing_cut_and_strange_files_are_all_named(copied: Path) -> None:
    train, val = copied / "train_000000.bin", copied / "val_000000.bin"
    val.rename(copied / "other.bin")
    train.write_bytes(train.read_bytes()[:-2])
    faults = "; ".join(find_faults(copied))
    for told in (
        "val_000000.bin is missing",
        "train_000000.bin is damaged: its checksum",
        "its header promises",
        "other.bin is not in manifest.json",
    ):
        assert told in faults
