"""Documents to a folder of token shards: restartable, and the same for any number of workers."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from gpt2.checksums import sha256_of
from gpt2.config import PrepareConfig
from gpt2.data.manifest import UNFINISHED, InputFile, Manifest, Plan, write_manifest
from gpt2.data.shards import SPLITS
from gpt2.errors import DataError
from gpt2.prepare.in_order import in_order
from gpt2.prepare.output_folder import (
    LOCK_FILE,
    check_unfinished,
    check_usable,
    read_complete,
    read_or_create_state,
    remove_previous,
)
from gpt2.prepare.part_reader import PartReader
from gpt2.prepare.shard_writer import STATE_FILE, ShardWriter, WriterState, remove_unfinished
from gpt2.prepare.sources import Source
from gpt2.prepare.tokenize_batch import append, tokenize
from llm_tokenizer import Tokenizer
from llm_tokenizer.files import TOKENIZER_FILES

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

    Work that an earlier call with the same source, tokenizer and settings has done is not repeated,
    whether that call ended or was killed.

    Args:
        source: Where the documents are.
        tokenizer: Its vocabulary must fit in uint16 and have <|endoftext|>.
        directory: Created if it does not exist.
        config: Which text becomes which tokens. Without a separator, the source's own counts.
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
    if config.separator is None:
        config = replace(config, separator=source.separator)
    plan = _plan_of(source, tokenizer, config)
    unfinished = directory / UNFINISHED
    check_usable(directory)
    check_unfinished(directory, force=force)  # before what follows removes it
    try:
        unfinished.mkdir(parents=True, exist_ok=True)
        with FileLock(unfinished / LOCK_FILE, timeout=0):
            if force:
                remove_previous(directory)
            manifest = read_complete(directory, plan)
            if manifest is None:
                state = read_or_create_state(directory, plan, source)
                _write_shards(source, tokenizer, directory, config, state, workers, show)
                manifest = _complete(directory, plan, state, tokenizer)
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


def _plan_of(source: Source, tokenizer: Tokenizer, config: PrepareConfig) -> Plan:
    return Plan(
        source=source.name,
        revision=source.revision,
        inputs=tuple(
            InputFile(name=file.name, bytes=file.bytes, checksum=file.checksum)
            for file in source.files
        ),
        settings=asdict(config),
        tokenizer_fingerprint=tokenizer.fingerprint,
    )


def _write_shards(
    source: Source,
    tokenizer: Tokenizer,
    directory: Path,
    config: PrepareConfig,
    state: WriterState,
    workers: int,
    show: Show | None,
) -> None:
    """Read, tokenize and write what is left to do; what has been committed stays."""
    writer = ShardWriter(directory, state, config.shard_tokens)
    started = committed = time.perf_counter()
    text_bytes, cost = 0, 0.0
    reader = PartReader(source, config)
    batches = reader.batches(state.position)
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
                        done=reader.share_done(state.position, batch.done),
                    )
                )
        writer.finish()
    except DataError:  # of a file that cannot be read
        if state != WriterState():
            writer.commit()
        raise
    finally:
        writer.close()


def _complete(directory: Path, plan: Plan, state: WriterState, tokenizer: Tokenizer) -> Manifest:
    """Write what a folder needs beside its shards: the vocabulary, and last the manifest."""
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
