"""A folder of token shards, opened for training: those of this project and of others."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from gpt2.checksums import sha256_of
from gpt2.data.manifest import MANIFEST_FILE, UNFINISHED, Shard, fingerprint_of, read_manifest
from gpt2.data.shards import SPLITS, Tokens, read_foreign_shard, read_shard
from gpt2.errors import DataError
from llm_tokenizer import Tokenizer
from llm_tokenizer.files import VOCAB_FILE

# Bytes of shards whose checksums are compared whenever they are opened, which takes seconds.
QUICKLY_CHECKED = 2**32


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


def open_shards(directory: Path) -> TokenData:
    """Open a folder of token shards.

    Args:
        directory: What `gpt2 prepare` wrote; or a folder of such folders, one a part, whose tokens
            follow one another in the order of their names; or a folder of another program's files
            with train or val in their names, see `read_foreign_shard`: where no vocabulary lies
            beside them, they are taken to be GPT-2's ids.
    Raises:
        DataError: A shard is missing or damaged, or does not belong to the rest. The checksums are
            compared where all shards together have up to QUICKLY_CHECKED bytes; those of more
            only by `manifest.find_faults`.
        TokenizerError: The vocabulary is missing or damaged.
    """
    if not (directory / MANIFEST_FILE).exists():
        if (directory / UNFINISHED).exists():
            raise DataError(
                f"{directory} is not complete: the gpt2 prepare that began it goes on when it is "
                "started again"
            )
        if parts := sorted(path.parent for path in directory.glob(f"*/{MANIFEST_FILE}")):
            return _open_parts(directory, parts)
        if files := _foreign_files(directory):
            return _open_foreign(directory, files)
    manifest = read_manifest(directory)
    tokenizer = Tokenizer.load(directory)
    if tokenizer.fingerprint != manifest.tokenizer_fingerprint:
        raise DataError(f"{directory}: the shards were made with another tokenizer than lies there")
    check = sum(2 * shard.tokens for shard in manifest.shards) <= QUICKLY_CHECKED

    def open_listed(shard: Shard) -> Tokens:
        path = directory / shard.file
        tokens = read_shard(path)
        if len(tokens) != shard.tokens or (check and sha256_of(path) != shard.sha256):
            raise DataError(
                f"{path} must hold the {shard.tokens} tokens that {MANIFEST_FILE} lists, its "
                "checksum is another; prepare the data again"
            )
        return tokens

    with ThreadPoolExecutor() as threads:
        train, val = (list(threads.map(open_listed, manifest.of(split))) for split in SPLITS)
    return TokenData(manifest.fingerprint, tokenizer, train, val, checked=True)


def _open_parts(directory: Path, folders: list[Path]) -> TokenData:
    manifests = [read_manifest(folder) for folder in folders]
    first = manifests[0]
    numbers = sorted(manifest.settings["part"] for manifest in manifests)
    count = int(numbers[0].partition("/")[2])
    if numbers != sorted(f"{k + 1}/{count}" for k in range(count)):
        raise DataError(
            f"{directory} must hold all {count} parts of a source, each once, got "
            f"{', '.join(numbers)}"
        )
    alike = (
        (m.inputs, m.tokenizer_fingerprint, m.settings | {"part": ""})
        == (first.inputs, first.tokenizer_fingerprint, first.settings | {"part": ""})
        for m in manifests
    )
    for folder, same in zip(folders, alike, strict=True):
        if not same:
            raise DataError(
                f"{folder} was made from another source, or with other settings, than {folders[0]}"
            )
    opened = [open_shards(folder) for folder in folders]
    return TokenData(
        fingerprint_of(data.fingerprint for data in opened),
        opened[0].tokenizer,
        [tokens for data in opened for tokens in data.train],
        [tokens for data in opened for tokens in data.val],
        checked=True,
    )


def _foreign_files(directory: Path) -> list[Path]:
    files = [path for suffix in ("bin", "npy") for path in directory.glob(f"*.{suffix}")]
    return sorted(path for path in files if any(split in path.name for split in SPLITS))


def _open_foreign(directory: Path, files: list[Path]) -> TokenData:
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
        checksums = list(threads.map(sha256_of, files))
    train = [tokens for path, tokens in shards.items() if "train" in path.name]
    val = [tokens for path, tokens in shards.items() if "train" not in path.name]
    return TokenData(fingerprint_of(checksums), tokenizer, train, val, checked=False)
