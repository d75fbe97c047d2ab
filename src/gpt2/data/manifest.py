"""manifest.json: what a folder of token shards holds, and what it was made from.

It makes the folder complete, and so is written last.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from gpt2.checksums import sha256_of
from gpt2.data.shards import Split, read_shard
from gpt2.errors import DataError
from llm_tokenizer import Tokenizer, TokenizerError
from llm_tokenizer.text_files import write_whole

MANIFEST_FILE = "manifest.json"
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
class Plan:
    """What decides the content of the shards: the same plan, the same shards."""

    source: str
    revision: str | None  # of a source on the hub, the commit
    inputs: tuple[dict[str, Any], ...]  # name, bytes and checksum of each file of the source
    settings: dict[str, Any]  # of config.PrepareConfig
    tokenizer_fingerprint: str

    def changes_since(self, before: "Plan") -> list[str]:
        """Return how this plan differs from an earlier one, one phrase per difference."""
        settings = [
            f"{name} was {json.dumps(before.settings.get(name))}, is {json.dumps(value)}"
            for name, value in self.settings.items()
            if before.settings.get(name) != value
        ]
        old, new = ({row["name"]: row for row in plan.inputs} for plan in (before, self))
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
    """Write manifest.json, whole or not at all."""
    write_whole(directory / MANIFEST_FILE, manifest.to_json().encode())


def read_manifest(directory: Path) -> Manifest:
    """Read manifest.json.

    Raises:
        DataError: The folder holds no complete set of shards, or the file is damaged.
    """
    path = directory / MANIFEST_FILE
    try:
        text = path.read_text(encoding="utf-8")
        entries: dict[str, Any] = json.loads(text)
        entries.pop("sha256")
        rows = {
            "inputs": tuple(entries["inputs"]),
            "shards": tuple(Shard(**row) for row in entries["shards"]),
        }
        manifest = Manifest(**entries | rows)
    except FileNotFoundError:
        raise DataError(
            f"{directory} holds no token shards (no {MANIFEST_FILE}); "
            f"make them with: gpt2 prepare SOURCE --out {directory}"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a manifest of token shards: {error!r}") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    if text != manifest.to_json():
        raise DataError(f"{path} is damaged: its checksum does not fit its content")
    return manifest


def find_faults(directory: Path) -> list[str]:
    """Compare every file of a folder of shards with its manifest.

    Returns:
        A line for each file that is missing or differs; empty if all are as they were written.
    Raises:
        DataError: The manifest itself is missing or damaged.
    """
    manifest = read_manifest(directory)
    faults = []
    for name, checksum in manifest.tokenizer_files.items():
        if _checksum_or_none(directory / name) != checksum:
            faults.append(f"{name} is missing or damaged")
    try:
        tokenizer = Tokenizer.load(directory)
        opener = tokenizer.eot_token
    except TokenizerError as error:
        return [*faults, f"the tokenizer cannot be read ({error}), so no shard was checked"]
    if tokenizer.fingerprint != manifest.tokenizer_fingerprint:
        faults.append("the tokenizer is another than the shards were made with")
    with ThreadPoolExecutor() as threads:
        found = threads.map(
            lambda shard: list(_faults_of(directory, shard, opener, tokenizer.n_vocab)),
            manifest.shards,
        )
        faults += chain.from_iterable(found)
    listed = {shard.file for shard in manifest.shards}
    unlisted = sorted(path.name for path in directory.glob("*.bin") if path.name not in listed)
    return faults + [f"{name} is not in {MANIFEST_FILE}" for name in unlisted]


def _faults_of(directory: Path, shard: Shard, opener: int, n_vocab: int) -> Iterator[str]:
    path = directory / shard.file
    if not path.is_file():
        yield f"{shard.file} is missing"
        return
    if _checksum_or_none(path) != shard.sha256:
        yield f"{shard.file} is damaged: its checksum is not the one in {MANIFEST_FILE}"
    try:
        tokens = read_shard(path)
    except DataError as error:
        yield str(error)
        return
    if len(tokens) != shard.tokens:
        yield f"{shard.file} must hold {shard.tokens} tokens, it holds {len(tokens)}"
    if (documents := int(np.count_nonzero(tokens == opener))) != shard.documents:
        yield f"{shard.file} must open {shard.documents} documents, it opens {documents}"
    if (largest := int(tokens.max())) >= n_vocab:
        yield f"{shard.file} holds the id {largest}, the vocabulary ends before {n_vocab}"


def _checksum_or_none(path: Path) -> str | None:
    """Return the checksum of a file, None if it cannot be read."""
    try:
        return sha256_of(path)
    except OSError:
        return None


def _checksum_of(entries: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()
