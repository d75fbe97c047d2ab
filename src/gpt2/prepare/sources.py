"""Where text comes from: what a user names, to a list of files and how to fetch each of them."""

import hashlib
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from glob import has_magic
from pathlib import Path

import huggingface_hub
from huggingface_hub import constants, is_offline_mode
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

from gpt2.checksums import sha256_of
from gpt2.data.shard_folder import splits_in
from gpt2.errors import DataError
from gpt2.hub import HubFailure, meaning_of, snapshot
from gpt2.prepare.file_formats import is_text_file
from gpt2.prepare.local_files import Found, each_once, find_files
from gpt2.prepare.stdlib_docs import stdlib_docs
from llm_tokenizer.atomic import write_whole

STDLIB_DOCS, TINYSHAKESPEARE, FINEWEB_EDU = "stdlib-docs", "tinyshakespeare", "fineweb-edu"
BUNDLED = (STDLIB_DOCS, TINYSHAKESPEARE, FINEWEB_EDU)
FINEWEB_EDU_REPOSITORY, FINEWEB_EDU_SUBSET = "HuggingFaceFW/fineweb-edu", "sample-10BT"

TINYSHAKESPEARE_URL = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
)
TINYSHAKESPEARE_BYTES = 1115394
TINYSHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file of documents, on this machine or on the hub; or documents in memory."""

    name: str
    bytes: int
    checksum: str  # sha256; of small files on the hub their git id
    modified: str | None = field(default=None, compare=False)  # of a local file, its times
    fetch: Callable[[], Path | Sequence[str]] = field(compare=False, repr=False)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Files in the order in which they are read."""

    name: str
    files: tuple[SourceFile, ...]
    revision: str | None = None  # the commit on the hub
    separator: str | None = None  # between documents, where the settings have none
    left_out: tuple[str, ...] = field(default=(), compare=False)  # files in folders, of other kinds


def find(
    words: str | Sequence[str],
    *,
    subset: str | None = None,
    revision: str | None = None,
    before: Source | None = None,
) -> Source:
    """Return what a user names.

    Args:
        words: "stdlib-docs", "tinyshakespeare", "fineweb-edu" or a data set on the hub, alone; or
            paths and globs of files and folders, one or more.
        subset: Of fineweb-edu its subset, of another data set on the hub a folder or a glob.
        revision: Branch, tag or commit on the hub.
        before: What an earlier call returned: of a data set on the hub the same commit is taken,
            and files that have not been touched since are not read for their checksum again.
    Raises:
        DataError: There is no such file, folder or data set, or it has no text.
    """
    words = [words] if isinstance(words, str) else words
    name = " ".join(words)
    if name in (STDLIB_DOCS, TINYSHAKESPEARE) and (subset or revision):
        raise DataError(f"a subset or revision is of a data set on the hub; {name} has none")
    if name == STDLIB_DOCS:
        return in_memory(name, stdlib_docs())
    if name == TINYSHAKESPEARE:
        # A speech is a document, so that some can be held out.
        return Source(name=name, files=(_tinyshakespeare(),), separator="\n\n")
    if name == FINEWEB_EDU:
        return _on_hub(FINEWEB_EDU_REPOSITORY, _fineweb_edu_glob(subset), revision, before)
    if len(words) == 1 and _may_be_on_hub(name):
        return _on_hub(name, subset, revision, before)
    if subset or revision:
        raise DataError("a subset or revision is of a data set on the hub; the source is files")
    known = {file.name: file for file in before.files} if before else {}
    found = [_find_files(word) for word in words]
    paths = each_once(path for one in found for path in one.files)
    # realpath raises on no loop of links, but on a NUL, which `_local` reports.
    taken = {os.path.realpath(path) for path in paths if "\0" not in str(path)}
    left_out = sorted(
        {p for one in found for p in one.left_out if os.path.realpath(p) not in taken}
    )
    with ThreadPoolExecutor() as threads:
        files = threads.map(partial(_local, known=known), paths)
        return Source(
            name=name,
            files=tuple(files),
            left_out=tuple(path.as_posix() for path in left_out),
        )


def in_memory(name: str, documents: Sequence[str]) -> Source:
    """Return documents that are in memory as a source of one file."""
    checksum, size = hashlib.sha256(), 0
    for document in documents:
        content = document.encode("utf-8", "surrogatepass")
        checksum.update(len(content).to_bytes(8, "little") + content)
        size += len(content)
    file = SourceFile(name=name, bytes=size, checksum=checksum.hexdigest(), fetch=lambda: documents)
    return Source(name=name, files=(file,))


def _find_files(word: str) -> Found:
    if word in BUNDLED and not Path(word).exists():
        raise DataError(f"{word} is a source by itself; name it without others")
    return find_files(word)


def _local(path: Path, known: Mapping[str, SourceFile]) -> SourceFile:
    try:
        path.as_posix().encode()
        described = path.stat()
        if not stat.S_ISREG(described.st_mode):
            raise DataError(f"{path} must be a file or a folder, it is neither")
        size, modified = described.st_size, f"{described.st_mtime_ns} {described.st_ctime_ns}"
        before = known.get(path.as_posix())
        if before and (before.bytes, before.modified) == (size, modified):
            checksum = before.checksum
        else:
            checksum = sha256_of(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeEncodeError:
        raise DataError(f"{path!r} must have a name in UTF-8; rename it") from None
    except ValueError as error:  # a NUL in the name
        raise DataError(f"cannot read {str(path)!r}: {error}") from None
    return SourceFile(
        name=path.as_posix(),
        bytes=size,
        checksum=checksum,
        modified=modified,
        fetch=lambda: path,
    )


def _tinyshakespeare() -> SourceFile:
    return SourceFile(
        name=TINYSHAKESPEARE,
        bytes=TINYSHAKESPEARE_BYTES,
        checksum=TINYSHAKESPEARE_SHA256,
        fetch=_fetch_tinyshakespeare,
    )


def _fetch_tinyshakespeare() -> Path:
    """Return the file, downloaded once, beside what the hub's client keeps."""
    path = Path(constants.HF_HOME) / "gpt2-from-scratch" / "tinyshakespeare.txt"
    if path.is_file() and sha256_of(path) == TINYSHAKESPEARE_SHA256:
        return path
    try:
        answer = get_session().get(
            TINYSHAKESPEARE_URL, follow_redirects=True, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT
        )
        answer.raise_for_status()
    except HubFailure as error:
        raise DataError(
            f"tinyshakespeare could not be downloaded ({type(error).__name__}); with no network, "
            f"give a file that you have: gpt2 prepare FILE --separator '\\n\\n' --out DIR"
        ) from None
    checksum = hashlib.sha256(answer.content).hexdigest()
    if checksum != TINYSHAKESPEARE_SHA256:
        raise DataError(
            f"tinyshakespeare must have the sha256 {TINYSHAKESPEARE_SHA256}, "
            f"{TINYSHAKESPEARE_URL} gave {len(answer.content)} bytes with {checksum}"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, answer.content)
    return path


def _may_be_on_hub(name: str) -> bool:
    """Return whether a name has the form owner/name and is no path on this machine."""
    owner, _, repository = name.partition("/")
    if not (owner and repository) or is_text_file(name) or has_magic(name):
        return False
    return not (Path(owner).is_dir() or Path(name).exists())


def _fineweb_edu_glob(subset: str | None) -> str:
    """Return where the files of a subset lie, as the data set's card describes."""
    subset = subset or FINEWEB_EDU_SUBSET
    if subset == "default":
        return "data"
    return (
        subset.replace("sample-", "sample/") if subset.startswith("sample-") else f"data/{subset}"
    )


def _on_hub(
    repository: str, subset: str | None, revision: str | None, before: Source | None
) -> Source:
    """List the parquet files of a data set on the hub, all of one commit."""
    if revision is None and before and before.name == repository:
        revision = before.revision
    try:
        list_files = _cached_files if is_offline_mode() else _hub_files
        commit, files = list_files(repository, revision, subset)
    except HubFailure as error:
        reason = meaning_of(error, revision=revision, wanted="a list of its files")
        raise DataError(
            f"the data set {repository!r} {reason}; check the name and the network, or give files "
            "or folders of this machine"
        ) from None
    chosen = _choose(sorted(files, key=lambda file: file.name), subset)
    if not chosen:
        inside = f" in {subset!r}" if subset else ""
        raise DataError(f"the data set {repository!r} has no parquet file{inside}; try --subset")
    return Source(name=repository, files=tuple(chosen), revision=commit)


def _choose(files: Sequence[SourceFile], subset: str | None) -> list[SourceFile]:
    """Return the files in a subset; without a subset, those named train, or all if none is."""
    if subset is None:
        return [file for file in files if _is_for_training(file.name)] or list(files)
    globs = _globs(subset)
    return [file for file in files if any(fnmatchcase(file.name, glob) for glob in globs)]


def _globs(subset: str | None) -> list[str]:
    return [subset.rstrip("/") + "/*", subset] if subset else ["*.parquet"]


def _is_for_training(name: str) -> bool:
    """Return whether the last part of a path that has the word of a split has train alone."""
    splits = (splits_in(part) for part in reversed(name.split("/")))
    return next(filter(None, splits), []) == ["train"]


def _hub_files(
    repository: str, revision: str | None, subset: str | None
) -> tuple[str, list[SourceFile]]:
    # With a small file, which each branch has, the cache also remembers the revision's commit.
    commit = snapshot(repository, revision, ["README.md", ".gitattributes"], "dataset").name
    listed = huggingface_hub.HfApi().list_repo_tree(
        repository, recursive=True, revision=commit, repo_type="dataset"
    )
    return commit, [
        SourceFile(
            name=file.path,
            bytes=file.size,
            checksum=file.lfs.sha256 if file.lfs else file.blob_id,
            fetch=partial(_download, repository, file.path, commit),
        )
        for file in listed
        if isinstance(file, RepoFile) and file.path.endswith(".parquet")
    ]


def _cached_files(
    repository: str, revision: str | None, subset: str | None
) -> tuple[str, list[SourceFile]]:
    """List what is in the cache, which names a file's content by its checksum.

    Of the subset it has all files, or the client raises an error.
    """
    directory = snapshot(repository, revision, _globs(subset), "dataset")
    return directory.name, [
        SourceFile(
            name=path.relative_to(directory).as_posix(),
            bytes=path.stat().st_size,
            checksum=path.resolve().name,
            fetch=partial(Path, path),
        )
        for path in directory.rglob("*.parquet")
    ]


def _download(repository: str, file: str, commit: str) -> Path:
    """Fetch a file into the cache; what an earlier start fetched of it is not fetched again."""
    try:
        return Path(
            huggingface_hub.hf_hub_download(repository, file, repo_type="dataset", revision=commit)
        )
    except HubFailure as error:
        reason = meaning_of(error, revision=commit, wanted=file)
        raise DataError(
            f"{file}: the data set {repository!r} {reason}; start again to go on from here"
        ) from None
