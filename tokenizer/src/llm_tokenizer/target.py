"""Where a new vocabulary may be written: checked before it is learned, which takes long."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from llm_tokenizer.atomic import partial_of
from llm_tokenizer.errors import TokenizerError
from llm_tokenizer.files import TOKENIZER_FILES, VOCAB_FILE, file_suffix

# What a new vocabulary would make useless, and the files by which a folder is known to hold it.
DEPENDENTS = {
    "a model or a training run": ("config.json", "config.toml", "step_*", "checkpoints/*"),
    "prepared data": ("manifest.json", "unfinished/*", "*.bin", "*.npy"),
}


def check_target(path: Path, *, replace: bool) -> None:
    """Make sure that `files.write` can write at `path` and replaces nothing.

    Args:
        path: As for `files.write`.
        replace: Whether a vocabulary there may be replaced, also one that prepared data needs.
    Raises:
        TokenizerError: There is one, and `replace` is False; or a file cannot be written there.
    """
    try:
        is_file = bool(file_suffix(path))
        if is_file and path.name == VOCAB_FILE:
            raise TokenizerError(
                f"{path} would be half of a vocabulary; name its folder, or a file such as "
                "tokenizer.json"
            )
        folder, names = (path.parent, (path.name,)) if is_file else (path, TOKENIZER_FILES)
        if not replace:
            _check_free(folder, names)
        with _made(folder):
            for name in names:
                if (folder / name).is_dir():
                    raise TokenizerError(f"cannot write {folder / name}: it is a folder")
                probe = partial_of(folder / name)
                probe.touch()
                probe.unlink()
    except OSError as error:
        raise TokenizerError(f"cannot write {path}: {error.strerror}") from None


def _check_free(folder: Path, names: Sequence[str]) -> None:
    ways_out = "choose another --out, or pass --force to replace it"
    if present := [name for name in names if (folder / name).exists()]:
        raise TokenizerError(f"{folder / present[0]} is there already; {ways_out}")
    if not set(names) & set(TOKENIZER_FILES):
        return
    for what, patterns in DEPENDENTS.items():
        if found := next((path for pattern in patterns for path in folder.glob(pattern)), None):
            raise TokenizerError(
                f"{folder} holds {what} ({found.relative_to(folder)}), which another vocabulary "
                f"makes useless; {ways_out}"
            )


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make a folder for as long as this lasts, if it is not there."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for path in missing:
            with suppress(OSError):  # it was not made
                path.rmdir()
