"""The name of a model to the directory that holds it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import huggingface_hub
from huggingface_hub import is_offline_mode
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError

from gpt2.config import PRESETS, SETTINGS_FILE
from gpt2.errors import CheckpointError
from gpt2.files.hugging_face import CONFIG_FILE, GENERATION_FILE
from gpt2.files.run_directory import (
    CHECKPOINTS,
    best_checkpoint,
    has_all_files,
    list_checkpoints,
    newest_checkpoint,
)
from gpt2.files.tensors import FORMS, INDEX, files_of
from gpt2.hub import HubFailure, meaning_of, snapshot
from gpt2.progress import log
from llm_tokenizer.files import TOKENIZER_FILES

BEST = "best"  # after the name of a run


def locate(name: str | Path, revision: str | None = None) -> Path:
    """Return the local directory of a model, downloaded if need be.

    Args:
        name: The first of these that it is:
            a released model, "gpt2", "gpt2-medium", "gpt2-large" or "gpt2-xl" (a directory of that
            name is "./gpt2", or a Path);
            a run directory, whose newest checkpoint is taken, or RUN/best, that with the lowest
            held-out loss;
            a Hugging Face model directory, such as a checkpoint;
            a repository on the Hugging Face hub.
        revision: Branch, tag or commit on the hub.
    Raises:
        CheckpointError: There is no such model, or it cannot be reached.
    """
    path = Path(name)
    if name in PRESETS:
        return _from_hub(hub_name(str(name)), revision, path)
    if _is_run(path):
        return _newest_complete(path)
    if path.is_dir():
        return path
    if path.name == BEST and _is_run(path.parent):
        return best_checkpoint(path.parent)
    if path.exists():
        raise CheckpointError(f"{path} is a file; wanted the directory of a model or of a run")
    return _from_hub(str(name), revision, path)


def _newest_complete(run: Path) -> Path:
    """Return the newest checkpoint of a run that has all its files; log which one is skipped."""
    newest = newest_checkpoint(run)
    complete = (path for path in reversed(list_checkpoints(run)) if has_all_files(path))
    chosen = next(complete, newest)
    if chosen != newest:
        log(f"{newest} lacks files or parts of them; taking {chosen}")
    return chosen


def hub_name(name: str) -> str:
    """Return the repository on the hub of a name that is not local.

    >>> hub_name("gpt2-xl"), hub_name("owner/model")
    ('openai-community/gpt2-xl', 'owner/model')
    """
    return f"openai-community/{name}" if name in PRESETS else name


def is_local(name: str) -> bool:
    """Return whether a name is that of a directory here, or of a run's best checkpoint."""
    path = Path(name)
    is_best = path.name == BEST and _is_run(path.parent)
    return name not in PRESETS and (path.is_dir() or is_best)


def _is_run(path: Path) -> bool:
    is_model = (path / CONFIG_FILE).exists()
    return not is_model and ((path / CHECKPOINTS).is_dir() or (path / SETTINGS_FILE).is_file())


def _from_hub(repository: str, revision: str | None, path: Path) -> Path:
    """Return the directory of a repository's files in the hub's cache.

    Args:
        repository: Its name on the hub.
        revision: Branch, tag or commit.
        path: What the name would be as a path, for the error.
    """
    try:
        return _download(repository, revision)
    except HFValidationError:
        raise CheckpointError(
            f"no model at {str(path)!r}: wanted a local directory or a name on the Hugging Face "
            "hub, such as gpt2 or owner/model"
        ) from None
    except HubFailure as error:
        weights = f"weights in a form that is read here, {', '.join(FORMS)}, or a part of them"
        meaning = meaning_of(error, revision=revision, wanted=weights)
    here = (
        f"the directory of that name here is ./{path}, and"
        if path.is_dir()
        else (f"no directory {str(path)!r} here, and")
    )
    raise CheckpointError(
        f"{here} {repository!r} {meaning}; check the name and the network, or give a local model "
        "directory"
    )


def _download(repository: str, revision: str | None) -> Path:
    """Fetch what a model needs, its weights in the first form there is, all from one commit."""
    small = [CONFIG_FILE, GENERATION_FILE, *TOKENIZER_FILES, "*" + INDEX]
    directory = snapshot(repository, revision, small)
    fetch = partial(huggingface_hub.hf_hub_download, repository, revision=directory.name)
    form = _first_form(fetch)
    for file in files_of(form):
        if file != form:
            fetch(file.name)
    return directory


def _first_form(fetch: Callable[[str], str]) -> Path:
    """Fetch the weights, or their index, in the first form that the repository has."""
    for form in FORMS:
        try:
            return Path(fetch(form))
        except EntryNotFoundError as error:
            reason = error
            # Without network the file may exist all the same; in offline mode the cache decides.
            if isinstance(error, LocalEntryNotFoundError) and not is_offline_mode():
                raise
    raise reason
