"""What must be the same in all processes of a run, as facts: short texts by name."""

import hashlib
import json
import platform
import time
import zlib
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

from gpt2.checksums import sha256_of
from gpt2.config import RunConfig
from gpt2.data.shard_folder import TokenData
from gpt2.files.checkpoint import package_version
from gpt2.files.run_directory import CHECKPOINT_MANIFEST
from gpt2.train.hellaswag import hellaswag_rows
from gpt2.train.meeting import DisagreementError, named
from gpt2.train.peers import Peers

# Settings that may differ: what a process reads there is compared, or one alone counts.
MAY_DIFFER = frozenset(
    {
        "data.directory",  # by its tokens
        "training.device",  # by its kind
        "training.init_from",  # by its weights
        "training.max_hours",  # the shortest counts
        "evaluation.hellaswag",  # by its rows
        "evaluation.reference",  # rank 0 reads it
    }
)
SHOWN = 60  # characters of a value
SEEN_WITHIN = 10.0  # seconds after which a file on a shared disk is there for all hosts


def facts_of_start(config: RunConfig, what: str) -> dict[str, str]:
    """Return what must be the same when processes join.

    Args:
        config: The settings, as they are given.
        what: What is started, such as "a new run".
    """
    versions = {
        "gpt2-from-scratch": package_version("gpt2-from-scratch"),
        "torch": str(torch.__version__),
        "python": ".".join(platform.python_version_tuple()[:2]),
    }
    named = {f"the version of {name}": version for name, version in versions.items()}
    settings = facts_of(config)
    del settings["model.vocab_size"]  # by the data; where these are missing, that is what is wrong
    return {"what is started": what} | named | settings


def facts_of(config: RunConfig) -> dict[str, str]:
    """Return the settings that must be the same."""
    unset = dict.fromkeys(sorted(RunConfig.names() - MAY_DIFFER), "not set")
    settings = {
        f"{section}.{key}": json.dumps(value, ensure_ascii=False)
        for section, values in config.to_sections().items()
        for key, value in values.items()
    }
    return {name: _short(settings.get(name, value)) for name, value in unset.items()}


def facts_of_data(config: RunConfig, data: TokenData) -> dict[str, str]:
    """Return what a run reads, by its checksums."""
    facts = {
        "the checksum of the tokens": data.fingerprint[:16],
        "the checksum of the vocabulary": data.tokenizer.fingerprint[:16],
    }
    if config.evaluation.hellaswag is not None:
        rows = repr(hellaswag_rows(config.evaluation)).encode()
        facts["the checksum of HellaSwag"] = hashlib.sha256(rows).hexdigest()[:16]
    return facts


def facts_of_checkpoint(checkpoint: Path | None) -> dict[str, str]:
    """Return which checkpoint a run resumes from, by the checksum of its manifest."""
    shown = "none"
    if checkpoint is not None:
        manifest = checkpoint / CHECKPOINT_MANIFEST
        there = sha256_of(manifest)[:16] if manifest.is_file() else "which is not there"
        shown = f"{checkpoint.name} ({there})"
    return {"the newest intact checkpoint": shown}


def facts_of_weights(model: nn.Module) -> dict[str, str]:
    """Return a checksum of the weights that a model begins with, which must be on the CPU."""
    checksum = 0
    for tensor in model.state_dict().values():
        checksum = zlib.crc32(tensor.contiguous().view(torch.uint8).numpy(), checksum)
    return {"the checksum of the first weights": f"{checksum:08x}"}


def require_shared(run: Path, peers: Peers | None) -> None:
    """Make sure that all processes see the run directory of rank 0, which stays as it is.

    Raises:
        DisagreementError: A process does not.
    """
    if peers is None:
        return
    mark = run / f".shared-{peers.members[0].id}"  # a name that nobody has looked for before
    is_rank_0 = peers.own.rank == 0
    is_new = is_rank_0 and not run.exists()
    if is_rank_0:
        run.mkdir(parents=True, exist_ok=True)
        mark.touch()
    try:
        peers.gather("it is there")
        seen = peers.gather("" if is_rank_0 or _appears(mark) else str(run.resolve()))
    finally:
        if is_rank_0:
            mark.unlink()
        if is_new:
            run.rmdir()
    if blind := [rank for rank, elsewhere in enumerate(seen) if elsewhere]:
        raise DisagreementError(
            f"the hosts must share the run directory, as on a network file system: "
            f"{named(peers.members, blind)} does not see in {seen[blind[0]]} what "
            f"{named(peers.members, [0])} writes there"
        )


def _appears(file: Path) -> bool:
    """Return whether a file is there within a time."""
    deadline = time.monotonic() + SEEN_WITHIN
    while time.monotonic() < deadline:
        with suppress(OSError):
            # Listed, since network file systems remember of a single name that it was missing.
            next(file.parent.parent.iterdir(), None)
            if file in file.parent.iterdir():
                return True
        time.sleep(0.1)
    return False


def _short(value: str) -> str:
    if len(value) <= SHOWN:
        return value
    return f"{value[:SHOWN]}... ({hashlib.sha256(value.encode()).hexdigest()[:8]})"
