"""A directory of files that appears when all of them are written."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gpt2.errors import CheckpointError
from llm_tokenizer.atomic import PARTIAL, sync


@contextmanager
def written_whole(directory: Path) -> Iterator[Path]:
    """Yield a directory to write into; its files are moved into `directory` when all are synced.

    Args:
        directory: Where the files are to be. A new one is made under another name and renamed; in
            one that exists each file is replaced, and other files stay.
    Raises:
        CheckpointError: There is a file of that name.
    """
    if not directory.is_dir() and (directory.exists() or directory.is_symlink()):
        raise CheckpointError(f"{directory} must be a directory, and is none; choose another")
    is_new = not directory.is_dir()
    partial = directory.with_name(f".{directory.name}{PARTIAL}") if is_new else directory / PARTIAL
    try:
        if partial.exists():  # of a start that was cut short
            shutil.rmtree(partial)
        partial.mkdir(parents=True)
        yield partial
        for path in (*partial.iterdir(), partial):
            sync(path)
        if is_new:
            partial.replace(directory)
        else:
            for path in partial.iterdir():
                path.replace(directory / path.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    sync(directory.parent if is_new else directory)
