"""The flags --out and --force: what a verb writes replaces nothing unless it is asked to."""

from pathlib import Path

from gpt2.errors import InputError


def require_free(out: Path, *, force: bool) -> None:
    """Make sure that a file may be written.

    Raises:
        InputError: It is a directory, or is there already and must not be replaced.
    """
    if out.is_dir():
        raise InputError(f"{out} is there already; choose another --out, this one is a directory")
    if (out.exists() or out.is_symlink()) and not force:
        raise already_there(out)


def already_there(out: Path) -> InputError:
    """Return the error about a path that is taken."""
    return InputError(f"{out} is there already; choose another --out, or replace it with --force")
