import dataclasses
import hashlib
import json
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gpt2.config import PrepareConfig
from gpt2.data.manifest import read_manifest, write_manifest
from gpt2.data.shard_folder import open_shards
from gpt2.data.verification import find_faults
from gpt2.errors import DataError
from gpt2.prepare.pipeline import prepare
from gpt2.prepare.sources import find
from llm_tokenizer import Tokenizer


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


def rewrite(folder: Path, change: Callable[[Any], Any]) -> None:
    """Change the manifest by hand and make its checksum again."""
    entries = json.loads((folder / "manifest.json").read_text())
    del entries["sha256"]
    changed = change(entries)
    entries = entries if changed is None else changed
    if isinstance(entries, dict):
        entries["sha256"] = hashlib.sha256(json.dumps(entries).encode()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(entries, indent=1) + "\n")


VALUES: list[Any] = [None, -1, 1.5, "x", "../x", "", [], [1], {}, {"a": []}, True, 10**30, "\0"]
PATHS = [
    ("source",), ("revision",), ("inputs",), ("inputs", 0), ("inputs", 0, "name"),
    ("inputs", 0, "bytes"), ("inputs", 0, "checksum"), ("settings",), ("settings", "part"),
    ("tokenizer_fingerprint",), ("tokenizer_files",), ("tokenizer_files", "vocab.json"),
    ("skipped",), ("shards",), ("shards", 0), ("shards", 0, "file"), ("shards", 0, "split"),
    ("shards", 0, "tokens"), ("shards", 0, "documents"), ("shards", 0, "bytes"),
    ("shards", 0, "sha256"),
]  # fmt: skip


@pytest.mark.parametrize("keys", PATHS)
def test_a_value_that_was_changed_by_hand_never_ends_in_a_traceback(
    copied: Path, keys: tuple[Any, ...]
) -> None:
    content = (copied / "manifest.json").read_text()
    parts = copied.parent / "parts"
    for value in VALUES:

        def change(entries: Any, value: Any = value) -> None:
            for key in keys[:-1]:
                entries = entries[key]
            entries[keys[-1]] = value

        (copied / "manifest.json").write_text(content)
        rewrite(copied, change)
        for folder in (copied, parts):
            for use in (open_shards, find_faults):
                with suppress(DataError):
                    use(folder)
        if not parts.exists():
            parts.mkdir()
            (parts / "1").symlink_to(copied)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda m: m["shards"][0].update(tokens=-5), "shards.0.tokens must be .*, got -5"),
        (lambda m: m["shards"][0].update(tokens="5"), "shards.0.tokens must be .*, got '5'"),
        (lambda m: m["shards"][0].update(file="../train_000000.bin"), "shards.0.file must be"),
        (lambda m: m["shards"][0].update(split="test"), "shards.0.split must be"),
        (lambda m: m["shards"][0].pop("sha256") and None, "shards.0 lacks sha256"),
        (lambda m: m["shards"][0].update(more=1), "shards.0 has an unknown key, more"),
        (lambda m: m["tokenizer_files"].update({"../x": "y"}), "tokenizer_files must have only"),
        (lambda m: m.update(settings={"part": "3/2"}), "settings.part must be"),
        (lambda m: m.update(settings=[]), "settings must be an object, got a list"),
        (lambda m: [], "it must be an object, got a list"),
        (lambda m: m.pop("source") and None, "it lacks source"),
    ],
)
def test_a_value_that_cannot_be_is_named(copied: Path, change: Any, told: str) -> None:
    rewrite(copied, change)
    with pytest.raises(DataError, match=f"manifest.json is not a manifest of token shards: {told}"):
        read_manifest(copied)


@pytest.mark.parametrize("content", ["", "null", "{}", "[]", "text", "5", '"x"', "[" * 100_000])
def test_a_foreign_manifest_is_refused_in_one_line(copied: Path, content: str) -> None:
    (copied / "manifest.json").write_text(content)
    with pytest.raises(DataError, match=r"manifest.json is not a manifest of token shards: ") as e:
        read_manifest(copied)
    assert "\n" not in str(e.value)


def test_a_folder_named_as_the_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(DataError, match=r"cannot read .*manifest.json: it is no regular file"):
        find_faults(tmp_path)


@pytest.fixture
def parts(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """A folder of the two parts of a source."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(f"text {name} " * 20)
    for number in (1, 2):
        config = PrepareConfig(part=f"{number}/2", hold_out=0)
        source = find([str(tmp_path / "*.txt")])
        prepare(source, tokenizer, tmp_path / "parts" / str(number), config)
    return tmp_path / "parts"


def test_each_part_of_a_folder_of_parts_is_checked(parts: Path) -> None:
    assert find_faults(parts) == []
    shard = parts / "2/train_000000.bin"
    shard.write_bytes(shard.read_bytes()[:-2])
    (parts / "1/vocab.json").unlink()
    faults = "; ".join(find_faults(parts))
    assert "2/train_000000.bin is damaged" in faults
    assert "1/vocab.json is missing or damaged" in faults
    (parts / "1/manifest.json").write_text("{}")
    faults = "; ".join(find_faults(parts))
    assert "1/manifest.json is not a manifest" in faults
    assert "2/train_000000.bin is damaged" in faults


def test_a_missing_part_is_a_fault(parts: Path) -> None:
    shutil.rmtree(parts / "2")
    assert find_faults(parts) == [f"{parts} must hold all 2 parts of a source, each once, got 1/2"]
