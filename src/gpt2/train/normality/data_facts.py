"""What the tokens of a run are: their source, number and frequencies, if the folder is there."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpt2.config import RunConfig
from gpt2.data.manifest import MANIFEST_FILE, read_manifest
from gpt2.data.shard_folder import open_shards
from gpt2.data.shards import Tokens
from gpt2.data.verification import part_folders
from gpt2.errors import DataError
from llm_tokenizer import TokenizerError

COUNTED = 2**20  # training tokens whose frequencies are counted, the first ones


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """What is known of a run's tokens."""

    source: str | None  # of `gpt2 prepare`; None for other programs' shards
    train_tokens: int  # that the run reads in an epoch
    bytes_per_token: float | None  # of the held-out text, UTF-8
    unigram_nats: float  # entropy of the training tokens' frequencies, nats a token


def read_data_facts(config: RunConfig) -> DataFacts | None:
    """Return what is known of a run's tokens; None if its folder is gone, empty or damaged."""
    directory, limit = config.data.directory, config.data.train_tokens
    try:
        data = open_shards(directory, checksums=False)  # which take long
        source, bytes_per_token = _origin(directory)
    except (DataError, TokenizerError, OSError):
        return None
    tokens = sum(map(len, data.train))
    if not tokens:
        return None
    counted = data.train[0][: min(COUNTED, limit or COUNTED)]
    return DataFacts(
        source=source,
        train_tokens=min(tokens, limit or tokens),
        bytes_per_token=bytes_per_token,
        unigram_nats=entropy(counted),
    )


def source_of(config: RunConfig) -> str | None:
    """Return the source of a run's tokens, as `DataFacts` has it, without a look at the tokens."""
    try:
        return _origin(config.data.directory)[0]
    except (DataError, OSError):
        return None


def entropy(tokens: Tokens) -> float:
    """Return the entropy of the frequencies of the tokens, in nats a token.

    >>> round(entropy(np.array([7, 7, 8, 8])), 4)
    0.6931
    """
    counts = np.unique(tokens, return_counts=True)[1]
    return float(-np.log(counts / len(tokens)) @ counts / len(tokens))


def _origin(directory: Path) -> tuple[str | None, float | None]:
    """Return the source of a folder of shards, and the bytes of its held-out text per token."""
    folders = part_folders(directory) or [directory]
    if not (folders[0] / MANIFEST_FILE).exists():
        return None, None
    manifests = [read_manifest(folder) for folder in folders]
    held_out = [shard for manifest in manifests for shard in manifest.of("val")]
    tokens = sum(shard.tokens for shard in held_out)
    size = sum(shard.bytes for shard in held_out)
    return manifests[0].source, size / tokens if tokens else None
