"""The Hugging Face hub: files from it, models to it, and what its client's failures mean, in words.

Cache, token, proxies and offline mode are huggingface_hub's: HF_HOME, HF_ENDPOINT, HF_TOKEN,
HF_HUB_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT and its other environment variables.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants
from huggingface_hub.errors import (  # type: ignore[attr-defined] # HTTPError is httpx's
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import (  # type: ignore[attr-defined]
    get_session,
    validate_repo_id,
)

from gpt2.errors import HubError

# What a call of the client may raise for a reason that lies outside this program.
HubFailure = (HTTPError, OSError, EntryNotFoundError, HFValidationError)

GIT_ATTRIBUTES = ".gitattributes"  # which the hub puts into a new repository
SECONDS_OF_A_PUSH = 600  # that the hub may take to answer what is sent to it
PUSH_REFUSALS = {  # by the status of the hub's answer
    401: "the hub does not accept the token; log in with: hf auth login, or set HF_TOKEN",
    403: "the token may not write there; take one of the owner's that may write",
}

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
    _limit_waits()
    return Path(
        huggingface_hub.snapshot_download(
            repository, repo_type=kind, revision=revision, allow_patterns=files
        )
    )


def make_repository(repository: str, *, private: bool, replace: bool) -> None:
    """Make sure that there is a repository which a model may be pushed to; make it if need be.

    Args:
        repository: Its name, owner/name.
        private: Whether only its owner may see it.
        replace: Whether what is in it may be replaced.
    Raises:
        HubError: The name, the token or its rights do not do, the hub cannot be reached, the
            repository holds files that may not be replaced, or all can see one that is to be
            private.
    """
    check_push(repository)
    _limit_waits()
    with _push_failures(repository):
        try:
            found = HfApi().model_info(repository)
        except RepositoryNotFoundError:
            # None: as the owner's new repositories are.
            HfApi().create_repo(repository, private=private or None)
            return
    if private and not found.private:
        raise HubError(
            f"{repository} is there already, and all can see it; make it private in its settings "
            "on the hub, or choose another name"
        )
    if not replace and {file.rfilename for file in found.siblings or ()} - {GIT_ATTRIBUTES}:
        raise HubError(
            f"{repository} is there already; choose another name, or replace it with --force"
        )


def push(repository: str, directory: Path, names: Collection[str], stale: Collection[str]) -> str:
    """Push files into a repository as one commit, so that nobody sees a part of them.

    Args:
        repository: Its name, owner/name.
        directory: The files' place.
        names: The files.
        stale: Files that are deleted in the repository, unless they are among `names`.
    Returns:
        The address of the repository.
    Raises:
        HubError: It takes no files, or cannot be reached.
    """
    _limit_waits()
    with _push_failures(repository):
        there = set(HfApi().list_repo_files(repository))
        deleted = sorted(there & set(stale) - set(names))
        additions = [CommitOperationAdd(name, directory / name) for name in sorted(names)]
        HfApi().create_commit(
            repository,
            [*additions, *map(CommitOperationDelete, deleted)],
            commit_message="Model, written by gpt2 export",
        )
    return f"{constants.ENDPOINT}/{repository}"


def check_push(repository: str) -> None:
    """Make sure, without asking the hub, that a model may be pushed there.

    Raises:
        HubError: No repository can have the name, there is no token, or the hub may not be asked.
    """
    try:
        validate_repo_id(repository)
        is_name = repository.count("/") == 1
    except HFValidationError:
        is_name = False
    if not is_name:
        raise HubError(
            f"the name on the hub must be owner/name, of letters, digits, '-', '_' and '.', "
            f"got {repository!r}"
        )
    if constants.HF_HUB_OFFLINE:
        raise HubError(f"cannot push to {repository}: HF_HUB_OFFLINE is set")
    if huggingface_hub.get_token() is None:
        raise HubError(
            f"cannot push to {repository}: there is no token; log in with: hf auth login, or set "
            "HF_TOKEN to one that may write"
        )


@contextmanager
def _push_failures(repository: str) -> Iterator[None]:
    """Raise HubError, in one line, for whatever the client raises: it has no list of that."""
    try:
        yield
    except Exception as error:
        # Of an upload, the client's own error names the file alone.
        cause = error.__cause__ if isinstance(error, RuntimeError) else None
        raise HubError(f"cannot push to {repository}: {_push_meaning(cause or error)}") from None


def _push_meaning(error: BaseException) -> str:
    """Return why a push has failed."""
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if status in PUSH_REFUSALS:
        return PUSH_REFUSALS[status]
    if isinstance(error, HTTPError | ConnectionError) and status is None:
        return f"the hub cannot be reached ({type(error).__name__}); check the network"
    return " ".join(str(error).split()) or type(error).__name__


def _limit_waits() -> None:
    hooks = get_session().event_hooks["request"]
    if _limit_wait not in hooks:
        hooks.append(_limit_wait)


def _limit_wait(request: Any) -> None:
    """Limit how long a request waits for the hub: by itself the client waits without an end."""
    seconds = constants.HF_HUB_DOWNLOAD_TIMEOUT
    is_read = request.method in ("GET", "HEAD")
    limits = request.extensions["timeout"]
    for phase in (phase for phase, limit in limits.items() if limit is None):
        limits[phase] = seconds if is_read or phase == "connect" else SECONDS_OF_A_PUSH


def meaning_of(error: Exception, *, revision: str | None, wanted: str) -> str:
    """Return what a failure means, as the end of a sentence that begins with the repository's name.

    Args:
        error: One of `HubFailure`.
        revision: The branch, tag or commit that was asked for.
        wanted: What was asked for in the repository.
    """
    meaning = next(words for kind, words in _MEANINGS if isinstance(error, kind))
    return meaning.format(revision=revision, wanted=wanted, kind=type(error).__name__)
