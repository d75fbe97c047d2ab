"""The folder that `gpt2 prepare` writes: what an earlier call left in it, and what may be removed.

A complete folder holds manifest.json. In one that is not, the folder `unfinished` holds plan.json,
what decides the content of the shards, and state.json, how far the work has come.
"""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from tempfile import TemporaryFile

from gpt2.data.manifest import MANIFEST_FILE, SHARD_NAME, UNFINISHED, Manifest, Plan, read_manifest
from gpt2.data.shards import read_shard
from gpt2.errors import DataError
from gpt2.from_json import from_json, read_regular
from gpt2.prepare.file_formats import batching
from gpt2.prepare.shard_writer import STATE_FILE, WriterState
from gpt2.prepare.sources import Source, SourceFile
from llm_tokenizer import Tokenizer, TokenizerError
from llm_tokenizer.atomic import PARTIAL, write_whole
from llm_tokenizer.files import TOKENIZER_FILES, VOCAB_FILE

PLAN_FILE, LOCK_FILE = "plan.json", "lock"  # in the folder UNFINISHED


@dataclass(frozen=True, kw_only=True)
class SavedPlan(Plan):
    """What plan.json holds."""

    batching: list[int]  # of the version that wrote it
    modified: dict[str, str | None]  # SourceFile.modified by name


def check_usable(directory: Path) -> None:
    """Raise if a folder cannot be made or written to; leave nothing behind.

    Raises:
        DataError: It names the folder and the reason.
    """
    made: list[Path] = []
    try:
        if directory.is_symlink() and not directory.exists():
            raise DataError(
                f"{directory} must be a folder, it is a link to nowhere; choose another --out"
            )
        if directory.exists() and not directory.is_dir():
            raise DataError(f"{directory} must be a folder, it is a file; choose another --out")
        made = [path for path in (directory, *directory.parents) if not path.exists()]
        directory.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=directory):
            pass
    except (OSError, ValueError) as error:  # a name with a NUL in it
        reason = getattr(error, "strerror", None) or error
        failed = "write to" if _is_folder(directory) else "make the folder"
        raise DataError(f"cannot {failed} {directory}: {reason}; choose another --out") from None
    finally:
        for path in made:
            with suppress(OSError, ValueError):
                path.rmdir()


def _is_folder(path: Path) -> bool:
    with suppress(OSError, ValueError):
        return path.is_dir()
    return False


def previous_source(directory: Path) -> Source | None:
    """Return the source of what `directory` holds, complete or not; None if that is unknown.

    The source's files cannot be fetched; it is for `sources.find` to compare with.
    """
    plan: Plan | None = None
    with suppress(DataError):
        plan = read_manifest(directory)
    if plan is None:
        with suppress(DataError):
            plan = _read_plan(directory)
    if plan is None:
        return None
    modified = plan.modified if isinstance(plan, SavedPlan) else {}
    files = (
        SourceFile(**asdict(file), modified=modified.get(file.name), fetch=lambda: ())
        for file in plan.inputs
    )
    return Source(name=plan.source, files=tuple(files), revision=plan.revision)


def read_complete(directory: Path, plan: Plan) -> Manifest | None:
    """Return the manifest of a complete folder, None if the folder is not complete.

    Raises:
        DataError: Another plan made the folder, a shard of it is missing or cut, or it holds
            shards or a vocabulary of unknown origin.
    """
    if (directory / MANIFEST_FILE).exists():
        try:
            manifest = read_manifest(directory)
        except DataError as error:
            over = ", or start over with --force" if _is_prepared(directory) else ""
            raise DataError(f"{error}; choose another --out{over}") from None
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
            f"{directory} holds {unknown[0]}, and no manifest of where it came from; choose "
            "another folder, or start over with --force"
        )
    return None


def check_unfinished(directory: Path, *, force: bool) -> None:
    """Raise if the folder `unfinished` is not of a preparation; `force` allows a damaged plan."""
    unfinished = directory / UNFINISHED
    if unfinished.exists() and not unfinished.is_dir():
        raise DataError(f"{unfinished} is a file, not of a preparation; choose another --out")
    known = (LOCK_FILE, PLAN_FILE, STATE_FILE)
    for path in sorted(unfinished.iterdir()) if unfinished.is_dir() else []:
        named = path.name.removesuffix(PARTIAL) in known or SHARD_NAME.fullmatch(path.name)
        if not (named and path.is_file()):
            raise DataError(
                f"{unfinished} holds {path.name}, which is not of a preparation; choose another "
                "--out"
            )
    if not force:
        _read_plan(directory)


def read_or_create_state(directory: Path, plan: Plan, source: Source) -> WriterState:
    """Return the state that an earlier call with the same plan saved; without one, a new state."""
    state = WriterState.read(directory)
    path = directory / UNFINISHED / PLAN_FILE
    if state == WriterState():
        modified = {file.name: file.modified for file in source.files}
        saved = SavedPlan(**vars(plan), batching=batching(), modified=modified)
        write_whole(path, json.dumps(asdict(saved), indent=1).encode() + b"\n")
        return state
    before = _read_plan(directory)
    if before is None:
        raise DataError(f"{path} is missing; --force starts over")
    _check_same_plan(directory, plan, before)
    if before.batching != batching():
        raise DataError(
            f"{directory} was started by another version of this program; --force starts over"
        )
    if state.position.file > len(source.files):
        raise DataError(
            f"{directory / UNFINISHED / STATE_FILE} is damaged (the source has no file number "
            f"{state.position.file}); --force starts over"
        )
    return state


def _read_plan(directory: Path) -> SavedPlan | None:
    """Return the plan of a folder that is not complete, None if it has none.

    Raises:
        DataError: The file is damaged.
    """
    path = directory / UNFINISHED / PLAN_FILE
    try:
        return from_json(SavedPlan, json.loads(read_regular(path)))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} is damaged ({error}); --force starts over") from None


def remove_previous(directory: Path) -> None:
    """Remove what an earlier call wrote, first the files that make the rest count.

    Raises:
        DataError: The manifest is that of another program.
    """
    unfinished = directory / UNFINISHED
    if (directory / MANIFEST_FILE).exists() and not _is_prepared(directory):
        raise DataError(
            f"{directory / MANIFEST_FILE} is not of a preparation; choose another --out"
        )
    for path in (directory / MANIFEST_FILE, unfinished / STATE_FILE, unfinished / PLAN_FILE):
        path.unlink(missing_ok=True)
    for path in [*directory.iterdir(), *unfinished.iterdir()]:
        if SHARD_NAME.fullmatch(path.name) or path.name in TOKENIZER_FILES:
            path.unlink()


def _is_prepared(directory: Path) -> bool:
    """Return whether the manifest is that of a preparation, damaged or not."""
    with suppress(OSError, ValueError, RecursionError):
        entries = json.loads(read_regular(directory / MANIFEST_FILE))
        names = {field.name for field in fields(Plan)}
        return isinstance(entries, dict) and names <= entries.keys()
    return False


def _check_same_plan(directory: Path, plan: Plan, before: Plan) -> None:
    if changes := plan.changes_since(before):
        raise DataError(
            f"{directory} was prepared otherwise: {'; '.join(changes)}. Put that back, choose "
            "another folder, or start over with --force"
        )
