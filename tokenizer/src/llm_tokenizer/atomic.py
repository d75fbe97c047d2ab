"""Files written atomically: a reader finds the old content or the new, never part of it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"  # after the name of what is being written


@contextmanager
def written_atomically(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write a file to; it is synced to disk, then renamed to `path`.

    Raises:
        OSError: It cannot be synced or renamed; what was at `path` is as it was.
    """
    partial = partial_of(path)
    try:
        yield partial
        sync(partial)
        partial.replace(path)
        sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file atomically.

    Raises:
        OSError: It cannot be written, as on a full disk; it names `path`.
    """
    try:
        with written_atomically(path) as partial:
            partial.write_bytes(content)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def partial_of(path: Path) -> Path:
    """Return the temporary path that `written_atomically` yields."""
    return path.with_name(path.name + PARTIAL)


def sync(path: Path) -> None:
    """Make the content of a file, or the names in a folder, survive a crash of the machine."""
    if os.name == "nt" and path.is_dir():  # cannot be opened there
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
