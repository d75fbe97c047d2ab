"""The folder that `gpt2 prepare` writes: what an earlier call left in it, and what may be removed.

A complete folder holds manifest.json. In one that is not, the folder `unfinished` holds plan.json,
what decides the content of the shards, and state.json, how far the work has come.
"""

import json
import re
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpt2.data.manifest import MANIFEST_FILE, UNFINISHED, Manifest, Plan, read_manifest
from gpt2.data.shards import read_shard
from gpt2.errors import DataError
from gpt2.prepare.file_formats import batching
from gpt2.prepare.shard_writer import STATE_FILE, WriterState
from gpt2.prepare.sources import Source, SourceFile
from llm_tokenizer import Tokenizer, TokenizerError
from llm_tokenizer.files import TOKENIZER_FILES, VOCAB_FILE
from llm_tokenizer.text_files import write_whole

SHARD_NAME = re.compile(r"(train|val)_\d{6,}\.bin")
PLAN_FILE, LOCK_FILE = "plan.json", "lock"  # in the folder UNFINISHED


def previous_source(directory: Path) -> Source | None:
    """Return the source of what `directory` holds, complete or not; None if that is unknown.

    The source's files cannot be fetched; it is for `sources.find` to compare with.
    """
    for path in (directory / MANIFEST_FILE, directory / UNFINISHED / PLAN_FILE):
        with suppress(OSError, ValueError, KeyError, TypeError):
            entries = json.loads(path.read_text(encoding="utf-8"))
            modified = entries.get("modified", {})
            files = (
                SourceFile(**row, modified=modified.get(row["name"]), fetch=lambda: ())
                for row in entries["inputs"]
            )
            return Source(name=entries["source"], files=tuple(files), revision=entries["revision"])
    return None


def read_complete(directory: Path, plan: Plan) -> Manifest | None:
    """Return the manifest of a complete folder, None if the folder is not complete.

    Raises:
        DataError: Another plan made the folder, a shard of it is missing or cut, or it holds
            shards or a vocabulary of unknown origin.
    """
    if (directory / MANIFEST_FILE).exists():
        manifest = read_manifest(directory)
        _check_same_plan(directory, plan, manifest)
        for shard in manifest.shards:
            read_shard(directory / shard.file)  # raises if it is missing or cut
        return manifest
    if (directory / UNFINISHED / PLAN_FILE).exists():
        return None
    unknown = sorted(path.name for path in directory.iterdir() if SHARD_NAME.fullmatch(path.name))
    if not unknown and (directory / VOCAB_FILE).exists():
        with suppress(TokenizerError):
            if Tokenizer.load(directory).fingerprint == plan.tokenizer_fingerprint:
                return None
        unknown = [VOCAB_FILE]
    if unknown:
        raise DataError(
            f"{directory} holds {unknown[0]}, and nothing that tells where it came from; choose "
            "another folder, or start over with --force"
        )
    return None


def check_unfinished(directory: Path) -> None:
    """Raise if the folder `unfinished` holds files that no preparation writes."""
    unfinished = directory / UNFINISHED
    names = sorted(path.name for path in unfinished.iterdir()) if unfinished.is_dir() else []
    known = (LOCK_FILE, PLAN_FILE, STATE_FILE)
    for name in names:
        if name.removesuffix(".partial") not in known and not SHARD_NAME.fullmatch(name):
            raise DataError(
                f"{unfinished} holds {name}, which is not of a preparation; choose another --out"
            )


def read_or_create_state(directory: Path, plan: Plan, source: Source) -> WriterState:
    """Return the state that an earlier call with the same plan saved; without one, a new state."""
    state = WriterState.read(directory)
    path = directory / UNFINISHED / PLAN_FILE
    if state != WriterState():
        try:
            entries: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            saved_batching = entries.pop("batching")
            del entries["modified"]
            before = Plan(**entries | {"inputs": tuple(entries["inputs"])})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is damaged ({error!r}); --force starts over") from None
        _check_same_plan(directory, plan, before)
        if saved_batching != batching():
            raise DataError(
                f"{directory} was started by another version of this program; --force starts over"
            )
        return state
    modified = {file.name: file.modified for file in source.files}
    entries = asdict(plan) | {"batching": batching(), "modified": modified}
    write_whole(path, json.dumps(entries, indent=1).encode() + b"\n")
    return state


def remove_previous(directory: Path) -> None:
    """Remove what an earlier call wrote, first the files that make the rest count.

    Raises:
        DataError: The manifest is that of another program.
    """
    unfinished = directory / UNFINISHED
    if (directory / MANIFEST_FILE).exists() and previous_source(directory) is None:
        raise DataError(
            f"{directory / MANIFEST_FILE} is not of a preparation; choose another --out"
        )
    for path in (directory / MANIFEST_FILE, unfinished / STATE_FILE, unfinished / PLAN_FILE):
        path.unlink(missing_ok=True)
    for path in [*directory.iterdir(), *unfinished.iterdir()]:
        if SHARD_NAME.fullmatch(path.name) or path.name in TOKENIZER_FILES:
            path.unlink()


def _check_same_plan(directory: Path, plan: Plan, before: Plan) -> None:
    if changes := plan.changes_since(before):
        raise DataError(
            f"{directory} was prepared otherwise: {'; '.join(changes)}. Put that back, choose "
            "another folder, or start over with --force"
        )
