"""A path, folder or glob on this machine to the files that it names.

A folder and a glob find files in the same way. Names that begin with a dot are left out unless they
are written out. Linked folders are followed, each real folder once, so that loops end. A folder
that cannot be read is an error: its text would be missing without notice.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from glob import has_magic
from pathlib import Path

from gpt2.errors import DataError
from gpt2.prepare.file_formats import is_text_file

ANY_DEPTH = "**"


@dataclass(frozen=True)
class Found:
    """The files that a word names."""

    files: list[Path] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)  # in folders, files of other kinds


def find_files(word: str) -> Found:
    """Return the files that a path, folder or glob names, sorted.

    Args:
        word: As typed. A name that exists is that file or folder, even if it looks like a glob.
    Raises:
        DataError: There is no such file, a folder cannot be read, or a folder has no text in it.
    """
    if not word:
        raise DataError("a path must have a name, got an empty one; the folder here is .")
    named = [Path(word)]
    try:
        if has_magic(word) and not named[0].exists():
            named = _expand(word)
        found = Found()
        for path in named:
            if path.is_dir():
                _add_folder(found, path)
            else:
                found.files.append(path)
    except (OSError, ValueError) as error:  # a name that is too long, or with a NUL in it
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read {word!r}: {reason}") from None
    if not found.files:
        name = repr(word) if has_magic(word) else word
        raise DataError(f"{name} holds no .txt, .jsonl, .json or .parquet file")
    return found


def each_once(paths: Iterable[Path]) -> list[Path]:
    """Return the paths without those that lead to the same name in the same real folder again."""
    folders: dict[Path, Path] = {}
    chosen: dict[Path, Path] = {}
    for path in paths:
        if path.parent not in folders:
            folders[path.parent] = Path(os.path.realpath(path.parent))  # raises on no loop
        chosen.setdefault(folders[path.parent] / path.name, path)
    return list(chosen.values())


def _expand(pattern: str) -> list[Path]:
    """Return what a glob matches, sorted, linked folders last: `each_once` keeps real names."""
    path = Path(pattern)
    matches = set(_matches(Path(path.anchor), list(path.parts[len(path.anchor) > 0 :])))
    if pattern.endswith("/"):
        matches = {match for match in matches if match.is_dir()}
    if not matches:
        raise DataError(f"no file matches {pattern!r}")
    return sorted(matches, key=lambda match: (match.is_symlink() and match.is_dir(), str(match)))


def _add_folder(found: Found, folder: Path) -> None:
    """Add the files below a folder, in the order of their paths."""
    inside = sorted(
        path for below in _folders_below(folder) for path in _entries(below) if not _is_dir(path)
    )
    for path in inside:
        (found.files if is_text_file(path.name) else found.left_out).append(path)


def _matches(folder: Path, parts: list[str]) -> Iterator[Path]:
    """Yield what matches the parts of a glob below a folder, in no order."""
    part, *rest = parts
    if part == ANY_DEPTH:
        for below in _folders_below(folder):
            yield from _matches(below, rest or ["*"])
    elif has_magic(part):
        for path in _entries(folder, hidden=part.startswith(".")):
            if not fnmatch(path.name, part):
                continue
            if not rest:
                yield path
            elif _is_dir(path):
                yield from _matches(path, rest)
    elif rest:
        if _is_dir(folder / part):
            yield from _matches(folder / part, rest)
    elif os.path.lexists(folder / part):
        yield folder / part


def _folders_below(folder: Path) -> Iterator[Path]:
    """Yield a folder and all below it, each real one once, under a name without links if it can."""
    seen: set[Path] = set()
    waiting, links = [folder], list[Path]()
    while waiting or links:
        current = waiting.pop() if waiting else links.pop(0)
        real = current.resolve()
        if real in seen:
            continue
        seen.add(real)
        yield current
        inside = [path for path in _entries(current) if _is_dir(path)]
        waiting += [path for path in inside if not path.is_symlink()]
        links += [path for path in inside if path.is_symlink()]


def _entries(folder: Path, hidden: bool = False) -> list[Path]:
    """Return what lies in a folder, sorted."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries)
    except OSError as error:
        raise DataError(
            f"cannot read the folder {folder}: {error.strerror}; make it readable, or name the "
            "files to read"
        ) from None
    return [folder / name for name in names if hidden or not name.startswith(".")]


def _is_dir(path: Path) -> bool:
    """Return whether a path is a folder or a link to one; no link that leads nowhere is."""
    try:
        return path.is_dir()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise DataError(f"cannot read {path}: {error.strerror}") from None
