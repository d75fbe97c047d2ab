"""manifest.json: what a folder of token shards holds, and what it was made from.

It makes the folder complete, and so is written last.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from gpt2.checksums import sha256_of
from gpt2.data.from_json import from_json, read_regular
from gpt2.data.shards import Split, read_shard
from gpt2.errors import DataError
from llm_tokenizer import Tokenizer, TokenizerError
from llm_tokenizer.files import TOKENIZER_FILES
from llm_tokenizer.text_files import write_whole

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
    """Write manifest.json, whole or not at all."""
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


def find_faults(directory: Path) -> list[str]:
    """Compare every file of a folder of shards with its manifest.

    Args:
        directory: A folder of shards, or a folder of such folders, one for each part of a source.
    Returns:
        A line for each file that is missing or differs; empty if all are as they were written.
    Raises:
        DataError: The manifest itself is missing or damaged.
    """
    if not (folders := part_folders(directory)):
        return _faults_of_folder(directory)
    faults = []
    for folder in folders:
        try:
            faults += [f"{folder.name}/{fault}" for fault in _faults_of_folder(folder)]
        except DataError as error:
            faults.append(str(error))
    if not faults:
        try:
            check_parts(directory, folders)
        except DataError as error:
            faults.append(str(error))
    return faults


def part_folders(directory: Path) -> list[Path]:
    """Return the folders of shards in a folder that is none itself, sorted."""
    if (directory / MANIFEST_FILE).exists():
        return []
    return sorted(path.parent for path in directory.glob(f"*/{MANIFEST_FILE}"))


def check_parts(directory: Path, folders: Sequence[Path]) -> None:
    """Raise if folders of shards are not all the parts of one source.

    Raises:
        DataError: A part is missing or there twice, or was made in another way than the others.
    """
    manifests = [read_manifest(folder) for folder in folders]
    first = manifests[0]
    numbers = sorted(manifest.part for manifest in manifests)
    count = int(first.part.partition("/")[2])
    if count == 1 and len(folders) > 1:
        raise DataError(
            f"{directory} holds {len(folders)} folders that are no parts of one source; name one "
            f"of them, such as {folders[0]}"
        )
    if numbers != sorted(f"{k + 1}/{count}" for k in range(count)):
        raise DataError(
            f"{directory} must hold all {count} parts of a source, each once, got "
            f"{', '.join(numbers)}"
        )
    for folder, manifest in zip(folders, manifests, strict=True):
        if _without_part(manifest) != _without_part(first):
            raise DataError(
                f"{folder} was made from another source, or with other settings, than {folders[0]}"
            )


def _without_part(manifest: Manifest) -> tuple[object, ...]:
    """Return what all parts of one source have in common."""
    settings = manifest.settings | {"part": ""}
    return manifest.inputs, manifest.tokenizer_fingerprint, settings


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


def _faults_of_folder(directory: Path) -> list[str]:
    """Return the faults of one folder of shards."""
    manifest = read_manifest(directory)
    faults = []
    for name, checksum in manifest.tokenizer_files.items():
        if checksum_or_none(directory / name) != checksum:
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
    if checksum_or_none(path) != shard.sha256:
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


def checksum_or_none(path: Path) -> str | None:
    """Return the checksum of a file, None if it cannot be read."""
    try:
        return sha256_of(path)
    except OSError:
        return None


def _checksum_of(entries: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(entries).encode()).hexdigest()
