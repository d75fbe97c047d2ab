"""Whether folders of token shards are as they were written, and belong together."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np

from gpt2.data.manifest import (
    MANIFEST_FILE,
    Manifest,
    Shard,
    checksum_or_none,
    read_manifest,
)
from gpt2.data.shards import read_shard
from gpt2.errors import DataError
from llm_tokenizer import Tokenizer, TokenizerError


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
