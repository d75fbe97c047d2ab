"""The Hugging Face hub: how files are fetched, and what its client's failures mean, in words.

Cache, token, proxies and offline mode are huggingface_hub's: HF_HOME, HF_ENDPOINT, HF_TOKEN,
HF_HUB_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT and its other environment variables.
"""

from pathlib import Path
from typing import Any, Literal

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import (  # type: ignore[attr-defined] # HTTPError is httpx's
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

# What a call of the client may raise for a reason that lies outside this program.
HubFailure = (HTTPError, OSError, EntryNotFoundError, HFValidationError)

_MEANINGS: list[tuple[type[Exception], str]] = [  # the first that fits
    (GatedRepoError, "asks for its terms to be accepted, and for HF_TOKEN"),
    (
        RepositoryNotFoundError,
        "is no repository on the Hugging Face hub, or a private one that needs HF_TOKEN",
    ),
    (RevisionNotFoundError, "has no revision {revision!r}"),
    (
        LocalEntryNotFoundError,
        "is not in the cache, or not all of it, and the hub cannot be reached",
    ),
    (OfflineModeIsEnabled, "cannot be reached, as HF_HUB_OFFLINE is set"),
    (EntryNotFoundError, "lacks {wanted}"),
    (HFValidationError, "is not a name of the form owner/name"),
    (Exception, "could not be downloaded from the Hugging Face hub ({kind})"),
]


def snapshot(
    repository: str,
    revision: str | None,
    files: list[str],
    kind: Literal["model", "dataset"] = "model",
) -> Path:
    """Return the cache's folder of a commit, after some of its files have been fetched.

    Args:
        repository: Its name on the hub.
        revision: Branch, tag or commit.
        files: Their names, or patterns of them.
        kind: What the repository holds.
    Raises:
        HubFailure: They are neither in the cache nor can be fetched.
    """
    hooks = get_session().event_hooks["request"]
    if _limit_wait not in hooks:
        hooks.append(_limit_wait)
    return Path(
        huggingface_hub.snapshot_download(
            repository, repo_type=kind, revision=revision, allow_patterns=files
        )
    )


def _limit_wait(request: Any) -> None:
    """Limit how long a request waits for the hub: by itself the client waits without an end."""
    seconds = constants.HF_HUB_DOWNLOAD_TIMEOUT
    limits = request.extensions["timeout"]
    limits.update({phase: seconds for phase, limit in limits.items() if limit is None})


def meaning_of(error: Exception, *, revision: str | None, wanted: str) -> str:
    """Return what a failure means, as the end of a sentence that begins with the repository's name.

    Args:
        error: One of `HubFailure`.
        revision: The branch, tag or commit that was asked for.
        wanted: What was asked for in the repository.
    """
    meaning = next(words for kind, words in _MEANINGS if isinstance(error, kind))
    return meaning.format(revision=revision, wanted=wanted, kind=type(error).__name__)
