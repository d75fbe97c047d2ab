"""Models by name: a directory here, or a repository on the Hugging Face hub, downloaded once."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import huggingface_hub
from huggingface_hub import is_offline_mode
from huggingface_hub.errors import EntryNotFoundError, HFValidationError, LocalEntryNotFoundError

from gpt2.config import PRESETS
from gpt2.errors import CheckpointError
from gpt2.hub import HubFailure, meaning_of
from gpt2.weight_files import FORMS, INDEX, files_of
from llm_tokenizer.files import TOKENIZER_FILES

CONFIG_FILE, GENERATION_FILE = "config.json", "generation_config.json"


def locate(name_or_path: str | Path, revision: str | None = None) -> Path:
    """Return the local directory of a model, downloaded if need be.

    Args:
        name_or_path: A local directory, a repository on the hub, or a released model: "gpt2",
            "gpt2-medium", "gpt2-large", "gpt2-xl".
        revision: Branch, tag or commit on the hub.
    Raises:
        CheckpointError: There is no such model, or it cannot be reached.
    """
    if (directory := Path(name_or_path)).is_dir():
        return directory
    name = str(name_or_path)
    repository = f"openai-community/{name}" if name in PRESETS else name
    try:
        return _download(repository, revision)
    except HFValidationError:
        raise CheckpointError(
            f"no model at {name!r}: wanted a local directory or a name on the Hugging Face hub, "
            "such as gpt2 or owner/model"
        ) from None
    except HubFailure as error:
        weights = f"weights in a form that is read here, {', '.join(FORMS)}, or a part of them"
        told = meaning_of(error, revision=revision, wanted=weights)
    raise CheckpointError(
        f"no directory {name!r} here, and {repository!r} {told}; check the name and the network, "
        "or give a local model directory"
    )


def _download(repository: str, revision: str | None) -> Path:
    """Fetch what a model needs, its weights in the first form there is, all from one commit."""
    small = [CONFIG_FILE, GENERATION_FILE, *TOKENIZER_FILES, "*" + INDEX]
    directory = Path(
        huggingface_hub.snapshot_download(repository, revision=revision, allow_patterns=small)
    )
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
            # A network that fails tells nothing of what is there; a cache offline is all there is.
            if isinstance(error, LocalEntryNotFoundError) and not is_offline_mode():
                raise
    raise reason
