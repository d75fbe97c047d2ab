"""manifest.json: what a folder of token shards holds, and what it was made from.

It makes the folder complete, and so is written last.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gpt2.checksums import sha256_of
from gpt2.data.shards import Split
from gpt2.errors import DataError
from gpt2.from_json import from_json, read_regular
from llm_tokenizer.atomic import write_whole
from llm_tokenizer.files import TOKENIZER_FILES

MANIFEST_FILE = "manifest.json"
SHARD_NAME = re.compile(r"(train|val)_\d{6,}\.bin")
PART = re.compile(r"(\d{1,9})/(\d{1,9})")
UNFINISHED = "unfinished"  # folder beside the shards, while `gpt2 prepare` is at work
MOST_NAMED = 3  # changed files that a message names


@dataclass(frozen=True, kw_only=True)
class Shard:
    """A row of the manifest: what one shard file holds."""

    file: str
    split: Split
    tokens: int
    documents: int  # those that begin in it
    bytes: int  # UTF-8 bytes of these documents, without their openers
    sha256: str  # of the whole file


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """A row of the manifest: a file of the source."""

    name: str
    bytes: int
    checksum: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What decides the content of the shards: the same plan, the same shards."""

    source: str
    revision: str | None  # of a source on the hub, the commit
    inputs: tuple[InputFile, ...]
    settings: dict[str, Any]  # of config.PrepareConfig
    tokenizer_fingerprint: str

    def changes_since(self, before: "Plan") -> list[str]:
        """Return how this plan differs from an earlier one, one phrase per difference."""
        settings = [
            f"{name} was {json.dumps(before.settings.get(name))}, is {json.dumps(value)}"
            for name, value in self.settings.items()
            if before.settings.get(name) != value
        ]
        old, new = ({file.name: file for file in plan.inputs} for plan in (before, self))
        files = [f"{name} is gone" for name in old if name not in new]
        files += [f"{name} is new" for name in new if name not in old]
        files += [f"{name} has changed" for name in new if old.get(name, new[name]) != new[name]]
        if len(files) > MOST_NAMED:
            files[MOST_NAMED:] = [f"{len(files) - MOST_NAMED} more files have changed"]
        if not files and [*old] != [*new]:
            files = ["the files come in another order"]
        same = before.tokenizer_fingerprint == self.tokenizer_fingerprint
        return [*settings, *files, *([] if same else ["the tokenizer is another"])]


@dataclass(frozen=True, kw_only=True)
class Manifest(Plan):
    """What a folder of shards holds, and what it was made from."""

    tokenizer_files: dict[str, str]  # sha256 by name
    skipped: dict[str, int]  # rows without a text, by what they were
    shards: tuple[Shard, ...]

    @property
    def part(self) -> str:
        """Which part of the source this is, such as 3/16."""
        return str(self.settings["part"])

    @property
    def fingerprint(self) -> str:
        """A checksum over the tokens of every shard, in order."""
        return fingerprint_of(shard.sha256 for shard in self.shards)

    def of(self, split: Split) -> list[Shard]:
        """Return the shards of one split, in order."""
        return [shard for shard in self.shards if shard.split == split]

    def to_json(self) -> str:
        """Return the text of manifest.json, which ends with a checksum of all before it."""
        entries = asdict(self)
        return json.dumps(entries | {"sha256": _checksum_of(entries)}, indent=1) + "\n"


def fingerprint_of(checksums: Iterable[str]) -> str:
    """Return one checksum for many."""
    return hashlib.sha256("".join(checksums).encode()).hexdigest()


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Write manifest.json, atomically."""
    write_whole(directory / MANIFEST_FILE, manifest.to_json().encode())


def read_manifest(directory: Path) -> Manifest:
    """Read manifest.json.

    Raises:
        DataError: The folder holds no complete set of shards, or the file is damaged.
    """
    path = directory / MANIFEST_FILE
    try:
        text = read_regular(path)
        entries = json.loads(text)
        if isinstance(entries, dict):
            entries.pop("sha256", None)
        manifest = from_json(Manifest, entries)
        _check_names(manifest)
    except FileNotFoundError:
        raise DataError(
            f"{directory} holds no token shards (no {MANIFEST_FILE}); "
            f"make them with: gpt2 prepare SOURCE --out {directory}"
        ) from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not a manifest of token shards: {error}") from None
    if text != manifest.to_json():
        raise DataError(f"{path} is damaged: its checksum does not fit its content")
    return manifest


def _check_names(manifest: Manifest) -> None:
    """Raise if a value has the right type, and could not have been written all the same.

    Raises:
        ValueError: It names the value.
    """
    part = manifest.settings.get("part")
    match = PART.fullmatch(part) if isinstance(part, str) else None
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(f"settings.part must be like 3/16, got {part!r}")
    for k, shard in enumerate(manifest.shards):
        check_shard(shard, f"shards.{k}")
    if unknown := manifest.tokenizer_files.keys() - TOKENIZER_FILES:
        names = ", ".join(TOKENIZER_FILES)
        raise ValueError(f"tokenizer_files must have only {names}, got {min(unknown)!r}")


def check_shard(shard: Shard, place: str) -> None:
    """Raise ValueError, which names the place, if a row is none of a shard that was written."""
    match = SHARD_NAME.fullmatch(shard.file)
    if match is None or match[1] != shard.split:
        wanted = f"{shard.split}_000000.bin or alike"
        raise ValueError(f"{place}.file must be {wanted}, got {shard.file!r}")


def checksum_or_none(path: Path) -> str | None:
    """Return the checksum of a file, None if it cannot be read."""
    try:
        return sha256_of(path)
    except OSError:
        return None


def _checksum_of(entries: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()
