"""Documents to a folder of token shards: restartable, and the same for any number of workers."""

import json
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from gpt2.config import PrepareConfig
from gpt2.data.in_order import in_order
from gpt2.data.manifest import (
    MANIFEST_FILE,
    Manifest,
    Plan,
    read_manifest,
    sha256_of,
    write_manifest,
)
from gpt2.data.readers import batching
from gpt2.data.shard_writer import STATE_FILE, UNFINISHED, ShardWriter, State, remove_unfinished
from gpt2.data.shards import SPLITS, read_shard
from gpt2.data.source_reader import SourceReader
from gpt2.data.sources import Input, Source
from gpt2.data.tokenized import append, tokenize
from gpt2.errors import DataError
from llm_tokenizer import Tokenizer, TokenizerError
from llm_tokenizer.files import TOKENIZER_FILES, VOCAB_FILE
from llm_tokenizer.text_files import write_whole

SHARD_NAME = re.compile(r"(train|val)_\d{6,}\.bin")
PLAN_FILE, LOCK_FILE = "plan.json", "lock"  # in the folder of what is unfinished
SECONDS_BETWEEN_COMMITS = 0.1  # at least; and commits take a twentieth of the time at most
COMMIT_REST = 20


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far the work has come."""

    documents: int
    tokens: int
    text_bytes: int  # since this start
    seconds: float  # since this start
    done: float  # share of the source, 0 to 1
    done_before: float  # this start


Show = Callable[[Progress], None]


def prepare(
    source: Source,
    tokenizer: Tokenizer,
    directory: Path,
    config: PrepareConfig,
    *,
    workers: int = 1,
    force: bool = False,
    show: Show | None = None,
) -> Manifest:
    """Write the shards of both splits, the tokenizer's files and the manifest.

    What an earlier call with the same source, tokenizer and settings has done is not done again,
    whether it ended or was killed.

    Args:
        source: Where the documents are.
        tokenizer: Its vocabulary must fit in uint16 and have <|endoftext|>.
        directory: Made if need be.
        config: What becomes which tokens.
        workers: Threads that read and tokenize; the shards are the same for any number.
        force: Whether to remove what was prepared in `directory` before, and start over.
        show: Called after each batch of documents.
    Raises:
        DataError: `directory` holds shards made otherwise, or another process is at work there; a
            file cannot be read or written, and what comes before it is safe; there is no text, or
            the vocabulary does not fit.
        UnknownTokenError: The vocabulary has no <|endoftext|>.
    """
    if tokenizer.dtype is not np.uint16:
        raise DataError(
            f"shards hold ids up to 65535, the vocabulary's go up to {tokenizer.max_token_value}"
        )
    _ = tokenizer.eot_token  # raises if there is none
    plan = Plan(
        source=source.name,
        revision=source.revision,
        inputs=tuple(
            {"name": one.name, "bytes": one.bytes, "checksum": one.checksum}
            for one in source.inputs
        ),
        settings=asdict(config),
        tokenizer_fingerprint=tokenizer.fingerprint,
    )
    unfinished = directory / UNFINISHED
    _must_be_ours(unfinished)  # before what follows removes it
    try:
        unfinished.mkdir(parents=True, exist_ok=True)
        with FileLock(unfinished / LOCK_FILE, timeout=0):
            if force:
                _remove(directory)
            manifest = _finished(directory, plan)
            if manifest is None:
                state = _begin(directory, plan, source)
                _write(source, tokenizer, directory, config, state, workers, show)
                manifest = _finish(directory, plan, state, tokenizer)
    except Timeout:
        raise DataError(f"another process is preparing {directory}; wait for it to end") from None
    except OSError as error:
        raise DataError(
            f"cannot write to {directory}: {error.strerror}; what is committed is safe, and the "
            "same command goes on from there"
        ) from None
    except DataError:
        if not (unfinished / STATE_FILE).exists():  # nothing was done
            remove_unfinished(directory)
            with suppress(OSError):  # there is something else in it
                directory.rmdir()
        raise
    remove_unfinished(directory)
    return manifest


def source_before(directory: Path) -> Source | None:
    """Return the source of what `directory` holds, finished or not, to compare with; or None."""
    for path in (directory / MANIFEST_FILE, directory / UNFINISHED / PLAN_FILE):
        with suppress(OSError, ValueError, KeyError, TypeError):
            entries = json.loads(path.read_text(encoding="utf-8"))
            modified = entries.get("modified", {})
            inputs = (
                Input(**row, modified=modified.get(row["name"]), fetch=lambda: ())
                for row in entries["inputs"]
            )
            return Source(
                name=entries["source"], inputs=tuple(inputs), revision=entries["revision"]
            )
    return None


def _finished(directory: Path, plan: Plan) -> Manifest | None:
    """Return the manifest of a complete folder, if it is one; make sure that this plan made it."""
    if (directory / MANIFEST_FILE).exists():
        manifest = read_manifest(directory)
        _must_be_the_same(directory, plan, manifest)
        for shard in manifest.shards:
            read_shard(directory / shard.file)  # raises if it is missing or cut
        return manifest
    begun = (directory / UNFINISHED / PLAN_FILE).exists()
    strangers = sorted(path.name for path in directory.iterdir() if SHARD_NAME.fullmatch(path.name))
    if not begun and not strangers and (directory / VOCAB_FILE).exists():
        with suppress(TokenizerError):
            if Tokenizer.load(directory).fingerprint == plan.tokenizer_fingerprint:
                return None
        strangers = [VOCAB_FILE]
    if strangers and not begun:
        raise DataError(
            f"{directory} holds {strangers[0]}, and nothing that tells where it came from; choose "
            "another folder, or start over with --force"
        )
    return None


def _must_be_ours(unfinished: Path) -> None:
    """Make sure that a folder named so is not somebody's own."""
    names = sorted(path.name for path in unfinished.iterdir()) if unfinished.is_dir() else []
    known = (LOCK_FILE, PLAN_FILE, STATE_FILE)
    for name in names:
        if name.removesuffix(".partial") not in known and not SHARD_NAME.fullmatch(name):
            raise DataError(
                f"{unfinished} holds {name}, which is not of a preparation; choose another --out"
            )


def _begin(directory: Path, plan: Plan, source: Source) -> State:
    """Return where an earlier start has come to by the same plan, or begin."""
    state = State.read(directory)
    path = directory / UNFINISHED / PLAN_FILE
    if state != State():
        try:
            entries: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            borders = entries.pop("batching")
            del entries["modified"]
            before = Plan(**entries | {"inputs": tuple(entries["inputs"])})
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is damaged ({error!r}); --force starts over") from None
        _must_be_the_same(directory, plan, before)
        if borders != batching():
            raise DataError(f"{directory} was begun by another version; --force starts over")
        return state
    modified = {one.name: one.modified for one in source.inputs}
    entries = asdict(plan) | {"batching": batching(), "modified": modified}
    write_whole(path, json.dumps(entries, indent=1).encode() + b"\n")
    return state


def _must_be_the_same(directory: Path, plan: Plan, before: Plan) -> None:
    if changes := plan.changes_since(before):
        raise DataError(
            f"{directory} was prepared otherwise: {'; '.join(changes)}. Put that back, choose "
            "another folder, or start over with --force"
        )


def _write(
    source: Source,
    tokenizer: Tokenizer,
    directory: Path,
    config: PrepareConfig,
    state: State,
    workers: int,
    show: Show | None,
) -> None:
    """Read, tokenize and write all that is left to do; what has been committed stays."""
    writer = ShardWriter(directory, state, config.shard_tokens)
    started = committed = time.perf_counter()
    text_bytes, cost = 0, 0.0
    reader = SourceReader(source, config)
    done_before = reader.share_done(state.place, 0.0)
    batches = reader.batches(state.place)
    try:
        for batch in in_order(partial(tokenize, tokenizer), batches, workers):
            append(batch, writer, config)
            text_bytes += int(batch.sizes.sum())
            now = time.perf_counter()
            if now - committed >= max(SECONDS_BETWEEN_COMMITS, COMMIT_REST * cost):
                writer.commit()
                committed = time.perf_counter()
                cost = committed - now
            if show:
                show(
                    Progress(
                        documents=state.documents,
                        tokens=sum(state.tokens(split) for split in SPLITS),
                        text_bytes=text_bytes,
                        seconds=time.perf_counter() - started,
                        done=reader.share_done(state.place, batch.done),
                        done_before=done_before,
                    )
                )
        writer.finish()
    except DataError:  # of a file that cannot be read
        if state != State():
            writer.commit()
        raise
    finally:
        writer.close()


def _finish(directory: Path, plan: Plan, state: State, tokenizer: Tokenizer) -> Manifest:
    """Make the folder complete."""
    if not state.of("train") and plan.settings["part"] == "1/1":
        (directory / UNFINISHED / STATE_FILE).unlink()
        rows = ", ".join(f"{count} {kind}" for kind, count in sorted(state.skipped.items()))
        raise DataError(
            f"{plan.source} must have some text to train on, it has none; "
            f"rows that were skipped: {rows or 'none, there are no rows'}"
        )
    tokenizer.save(directory)
    present = [name for name in TOKENIZER_FILES if (directory / name).exists()]
    manifest = Manifest(
        **vars(plan),
        tokenizer_files={name: sha256_of(directory / name) for name in present},
        skipped=dict(sorted(state.skipped.items())),
        shards=tuple(shard for split in SPLITS for shard in state.of(split)),
    )
    write_manifest(directory, manifest)
    return manifest


def _remove(directory: Path) -> None:
    """Remove what an earlier call has written, first what says that the rest is there."""
    unfinished = directory / UNFINISHED
    if (directory / MANIFEST_FILE).exists() and source_before(directory) is None:
        raise DataError(
            f"{directory / MANIFEST_FILE} is not of a preparation; choose another --out"
        )
    for path in (directory / MANIFEST_FILE, unfinished / STATE_FILE, unfinished / PLAN_FILE):
        path.unlink(missing_ok=True)
    for path in [*directory.iterdir(), *unfinished.iterdir()]:
        if SHARD_NAME.fullmatch(path.name) or path.name in TOKENIZER_FILES:
            path.unlink()
