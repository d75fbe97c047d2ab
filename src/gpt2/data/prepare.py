"""Documents to a folder of token shards."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from gpt2.data.shards import (
    MANIFEST_FILE,
    Manifest,
    Shard,
    Split,
    Tokens,
    write_manifest,
    write_shard,
)
from gpt2.errors import DataError
from llm_tokenizer import Tokenizer, well_formed

SHARD_TOKENS = 100_000_000


def hold_out(documents: Sequence[str], share: float, seed: int) -> tuple[list[str], list[str]]:
    """Return the documents in a seeded order, split: to train on, and to evaluate on.

    Args:
        documents: At least two; none is divided.
        share: Share of them to hold out, above 0 and below 1; rounded down, but one at least.
        seed: Seed of the order, at least 0.
    Raises:
        DataError: There are fewer than two documents, or an argument is out of range.
    """
    if not 0 < share < 1 or seed < 0:
        raise DataError(
            "wanted to hold out a share above 0 and below 1 with a seed of at least 0, "
            f"got {share} and {seed}"
        )
    if len(documents) < 2:
        raise DataError(
            f"wanted at least 2 documents, to hold one out, got {len(documents)}; "
            'cut a file into documents with --separator, such as --separator "\\n\\n"'
        )
    order = np.random.default_rng(seed).permutation(len(documents))
    count = max(1, int(len(documents) * share))
    return [documents[i] for i in order[count:]], [documents[i] for i in order[:count]]


def prepare(
    train: Iterable[str],
    val: Iterable[str],
    tokenizer: Tokenizer,
    directory: Path,
    *,
    source: str,
    shard_tokens: int = SHARD_TOKENS,
) -> Manifest:
    """Write the shards of both splits, the tokenizer's files and the manifest.

    Args:
        train: Documents to train on.
        val: Documents held out.
        tokenizer: Its vocabulary must fit in uint16 and have <|endoftext|>.
        directory: Made if need be; it must not hold shards already.
        source: Where the documents came from, for the manifest.
        shard_tokens: Most tokens a shard holds, but for one that a single document exceeds.
    Raises:
        DataError: `directory` holds shards, the vocabulary does not fit, or there is no text.
    """
    if (directory / MANIFEST_FILE).exists():
        raise DataError(
            f"{directory} holds token shards already; choose another folder, or delete it"
        )
    if tokenizer.dtype is not np.uint16:
        raise DataError(
            f"shards hold ids up to 65535, the vocabulary's go up to {tokenizer.max_token_value}"
        )
    directory.mkdir(parents=True, exist_ok=True)
    shards = (
        *_write_split("train", train, tokenizer, directory, shard_tokens),
        *_write_split("val", val, tokenizer, directory, shard_tokens),
    )
    if not any(shard.split == "train" for shard in shards):
        raise DataError(f"{source} has no text to train on")
    tokenizer.save(directory)
    manifest = Manifest(
        source=source, tokenizer_fingerprint=tokenizer.fingerprint, shards=tuple(shards)
    )
    write_manifest(directory, manifest)
    return manifest


def _write_split(
    split: Split, documents: Iterable[str], tokenizer: Tokenizer, directory: Path, limit: int
) -> Iterator[Shard]:
    portions = _portions(documents, tokenizer, limit)
    for number, (parts, text_bytes) in enumerate(portions):
        file = f"{split}_{number:06d}.bin"
        tokens = np.concatenate(parts)
        yield Shard(
            file=file,
            split=split,
            tokens=len(tokens),
            documents=len(parts),
            bytes=text_bytes,
            sha256=write_shard(directory / file, tokens),
        )


def _portions(
    documents: Iterable[str], tokenizer: Tokenizer, limit: int
) -> Iterator[tuple[list[Tokens], int]]:
    """Yield the tokens of as many documents as a shard takes, and the bytes of their text."""
    opener = np.array([tokenizer.eot_token], np.uint16)
    parts: list[Tokens] = []
    held = text_bytes = 0
    for document in documents:
        tokens = np.concatenate([opener, tokenizer.encode_to_array(document)], dtype=np.uint16)
        if parts and held + len(tokens) > limit:
            yield parts, text_bytes
            parts, held, text_bytes = [], 0, 0
        parts.append(tokens)
        held += len(tokens)
        text_bytes += len(well_formed(document).encode())
    if parts:
        yield parts, text_bytes
