"""A folder of token shards, opened for training: those of this project and of others."""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from gpt2.data.manifest import (
    MANIFEST_FILE,
    UNFINISHED,
    Shard,
    checksum_or_none,
    fingerprint_of,
    read_manifest,
)
from gpt2.data.shards import SPLITS, Split, Tokens, read_foreign_shard, read_shard
from gpt2.data.verification import check_parts, part_folders
from gpt2.errors import DataError
from llm_tokenizer import Tokenizer
from llm_tokenizer.files import VOCAB_FILE

# Bytes of shards whose checksums are compared whenever they are opened, which takes seconds.
QUICKLY_CHECKED = 2**32
FOREIGN_SUFFIXES = (".bin", ".npy")
SPLIT_WORDS: dict[Split, set[str]] = {
    "train": {"train", "training"},
    "val": {"val", "valid", "validation"},
}


@dataclass(frozen=True)
class TokenData:
    """A folder of shards, opened: the tokens stay on disk until they are read."""

    fingerprint: str  # a checksum over all tokens
    tokenizer: Tokenizer
    train: list[Tokens]
    val: list[Tokens]
    checked: bool  # every id is known to be in the tokenizer's vocabulary

    def check_ids(self, vocab_size: int) -> None:
        """Make sure that a model has an embedding for every id.

        Raises:
            DataError: A shard, which it names, holds an id at or above `vocab_size`.
        """
        if self.checked and self.tokenizer.n_vocab <= vocab_size:
            return
        for tokens in (*self.train, *self.val):
            if (largest := int(tokens.max())) >= vocab_size:
                name = getattr(tokens, "filename", "a shard")
                raise DataError(
                    f"{name} holds the id {largest}, the model has {vocab_size} embeddings; "
                    f"train with --model.vocab-size {largest + 1} or more"
                )


def open_shards(directory: Path, *, checksums: bool = True) -> TokenData:
    """Open a folder of token shards.

    Args:
        directory: What `gpt2 prepare` wrote; or a folder of such folders, one a part, whose tokens
            follow one another in the order of their names; or a folder of another program's files,
            see `read_foreign_shard`, whose names have the word train or training, or else val,
            valid or validation. Without a vocabulary beside them, they are taken as GPT-2's ids.
        checksums: Whether to read the shards for their checksums. Without them, damage may go
            unseen, and the fingerprint of another program's files is that of no tokens.
    Raises:
        DataError: A shard is missing or damaged, or does not belong to the rest. The checksums are
            compared where all shards together have up to QUICKLY_CHECKED bytes; those of more
            only by `verification.find_faults`.
        TokenizerError: The vocabulary is missing or damaged.
    """
    if not (directory / MANIFEST_FILE).exists():
        if (directory / UNFINISHED).exists():
            raise DataError(
                f"{directory} is not complete: start the same gpt2 prepare again to complete it"
            )
        if parts := part_folders(directory):
            return _open_parts(directory, parts, checksums)
        if files := _foreign_files(directory):
            return _open_foreign(directory, files, checksums)
    manifest = read_manifest(directory)
    tokenizer = Tokenizer.load(directory)
    if tokenizer.fingerprint != manifest.tokenizer_fingerprint:
        raise DataError(
            f"{directory}: the shards were made with another tokenizer than the one in that folder"
        )
    size = sum(2 * shard.tokens for shard in manifest.shards)
    check = checksums and size <= QUICKLY_CHECKED

    def open_listed(shard: Shard) -> Tokens:
        path = directory / shard.file
        tokens = read_shard(path)
        if len(tokens) != shard.tokens or (check and checksum_or_none(path) != shard.sha256):
            raise DataError(
                f"{path} must hold the {shard.tokens} tokens that {MANIFEST_FILE} lists, its "
                "checksum is another; prepare the data again"
            )
        return tokens

    with ThreadPoolExecutor() as threads:
        train, val = (list(threads.map(open_listed, manifest.of(split))) for split in SPLITS)
    return TokenData(manifest.fingerprint, tokenizer, train, val, checked=True)


def _open_parts(directory: Path, folders: list[Path], checksums: bool) -> TokenData:
    check_parts(directory, folders)
    opened = [open_shards(folder, checksums=checksums) for folder in folders]
    return TokenData(
        fingerprint_of(data.fingerprint for data in opened),
        opened[0].tokenizer,
        [tokens for data in opened for tokens in data.train],
        [tokens for data in opened for tokens in data.val],
        checked=True,
    )


def _foreign_files(directory: Path) -> dict[Path, Split]:
    """Return the split of each shard of another program; none if no name has a word of a split.

    Raises:
        DataError: The folder has such shards, and a file whose split its name leaves open.
    """
    files = sorted(
        path
        for path in directory.glob("*")
        if path.suffix.lower() in FOREIGN_SUFFIXES and not path.name.startswith(".")
    )
    splits = {path: splits_in(path.stem) for path in files}
    if not any(splits.values()):
        return {}
    for path, found in splits.items():
        if len(found) != 1:
            raise DataError(
                f"{path} must have one of the words train and val in its name, so that it is "
                f"clear what it is for, it has {'both' if found else 'neither'}; rename it or "
                "move it elsewhere"
            )
    return {path: found[0] for path, found in splits.items()}


def splits_in(name: str) -> list[Split]:
    """Return the splits that a name has as whole words, which all but letters divide.

    >>> splits_in("pretrain_val.000001")
    ['val']
    """
    words = set(re.findall("[a-z]+", name.lower()))
    return [split for split in SPLITS if words & SPLIT_WORDS[split]]


def _open_foreign(directory: Path, files: dict[Path, Split], checksums: bool) -> TokenData:
    if (directory / VOCAB_FILE).exists():
        tokenizer = Tokenizer.load(directory)
    elif (directory / "meta.pkl").exists():
        raise DataError(
            f"{directory}: the tokens are of a vocabulary in meta.pkl, a pickle, which is not read "
            "here; prepare the text with: gpt2 prepare FILE --out DIR"
        )
    else:
        tokenizer = Tokenizer.gpt2()
    shards = {path: read_foreign_shard(path) for path in files}
    with ThreadPoolExecutor() as threads:
        found = threads.map(checksum_or_none, files if checksums else [])
        fingerprint = fingerprint_of(checksum or "" for checksum in found)
    train, val = ([shards[path] for path in files if files[path] == split] for split in SPLITS)
    return TokenData(fingerprint, tokenizer, train, val, checked=False)
