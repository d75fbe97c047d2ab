import json
import os
from pathlib import Path
from typing import Any

import pytest

from gpt2.config import PrepareConfig
from gpt2.errors import DataError
from gpt2.prepare import pipeline
from gpt2.prepare.output_folder import check_usable, previous_source
from gpt2.prepare.pipeline import prepare
from gpt2.prepare.sources import in_memory
from llm_tokenizer import Tokenizer

SOURCE = in_memory("texts", [f"text {k} " * 50 for k in range(20)])
FOREIGN = ["", "null", "[]", "{}", "5", '"text"', "no JSON", "\xff", "[" * 100_000, '{"inputs": 5}']


def start(out: Path, tokenizer: Tokenizer, *, force: bool = False) -> None:
    prepare(SOURCE, tokenizer, out, PrepareConfig(shard_tokens=1000), force=force)


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


@pytest.fixture
def interrupted(tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all shards, of a preparation that ended before it wrote the manifest."""

    def stop(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(pipeline, "write_manifest", stop)
        start(tmp_path / "interrupted", tokenizer)
    return tmp_path / "interrupted"


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("content", FOREIGN)
def test_a_foreign_manifest_is_refused_and_left_alone(
    tokenizer: Tokenizer, tmp_path: Path, content: str, force: bool
) -> None:
    (tmp_path / "manifest.json").write_text(content, encoding="latin-1")
    before = files_in(tmp_path)
    assert previous_source(tmp_path) is None
    with pytest.raises(DataError, match=r"manifest.json is not .*; choose another --out") as raised:
        start(tmp_path, tokenizer, force=force)
    assert "\n" not in str(raised.value)
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("name", ["manifest.json", "unfinished/plan.json", "unfinished/state.json"])
@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_file_is_refused(
    tokenizer: Tokenizer, tmp_path: Path, name: str, force: bool, kind: str
) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    if kind == "folder":
        (tmp_path / name).mkdir()
    elif hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match="choose another --out"):
        start(tmp_path, tokenizer, force=force)
    assert (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["plan.json", "state.json"])
@pytest.mark.parametrize("content", FOREIGN)
def test_a_foreign_plan_or_state_is_refused_until_force_starts_over(
    tokenizer: Tokenizer, tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / name).write_text(content, encoding="latin-1")
    before = files_in(tmp_path)
    assert previous_source(tmp_path) is None
    with pytest.raises(DataError, match=f"{name} is damaged .*; --force starts over") as raised:
        start(tmp_path, tokenizer)
    assert "\n" not in str(raised.value)
    assert files_in(tmp_path) == before
    start(tmp_path, tokenizer, force=True)
    assert "manifest.json" in files_in(tmp_path)


VALUES: list[Any] = [None, -1, 1.5, "x", "../x", [], [1], {}, True, 10**30, 10**18, "\0"]
PATHS = [
    ("state", "position"), ("state", "position", "file"), ("state", "position", "offset"),
    ("state", "documents"), ("state", "last_split"), ("state", "val_full"), ("state", "skipped"),
    ("state", "shards"), ("state", "shards", 0), ("state", "shards", 0, "file"),
    ("state", "shards", 0, "split"), ("state", "shards", 0, "tokens"), ("state", "open"),
    ("state", "open", "train"), ("state", "open", "train", "tokens"),
    ("state", "open", "train", "sha256"), ("plan", "source"), ("plan", "revision"),
    ("plan", "inputs"), ("plan", "inputs", 0), ("plan", "inputs", 0, "name"), ("plan", "settings"),
    ("plan", "batching"), ("plan", "modified"), ("plan", "tokenizer_fingerprint"),
]  # fmt: skip


@pytest.mark.parametrize("keys", PATHS)
def test_a_value_that_was_changed_by_hand_never_ends_in_a_traceback(
    interrupted: Path, tokenizer: Tokenizer, keys: tuple[Any, ...]
) -> None:
    name, *rest = keys
    path = interrupted / f"unfinished/{name}.json"
    content = path.read_text()
    kept = {path: path.read_bytes() for path in interrupted.rglob("*") if path.is_file()}
    for value in VALUES:
        (interrupted / "unfinished").mkdir(exist_ok=True)
        (interrupted / "manifest.json").unlink(missing_ok=True)
        for old, bytes_ in kept.items():
            old.write_bytes(bytes_)
        entries = inner = json.loads(content)
        for key in rest[:-1]:
            inner = inner[key]
        inner[rest[-1]] = value
        path.write_text(json.dumps(entries))
        previous_source(interrupted)
        try:
            start(interrupted, tokenizer)
        except DataError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("file", "file must be a folder, it is a file; choose another --out"),
        ("file.json", "file.json must be a folder, it is a file"),
        ("file/in", "cannot make the folder .*file/in: Not a directory; choose another --out"),
        ("file/in/it", "cannot make the folder .*file/in/it: Not a directory"),
        ("x" * 300, "cannot make the folder .*: File name too long"),
        ("a\0b", "cannot make the folder .*: .*null (byte|character)"),
        ("link", "link must be a folder, it is a link to nowhere"),
    ],
)
def test_an_out_that_cannot_be_a_folder_is_refused(
    tokenizer: Tokenizer, tmp_path: Path, out: str, told: str
) -> None:
    for name in ("file", "file.json"):
        (tmp_path / name).write_text("precious")
    (tmp_path / "link").symlink_to("nowhere")
    before = sorted(tmp_path.rglob("*"))
    for use in (check_usable, lambda directory: start(directory, tokenizer)):
        with pytest.raises(DataError, match=told):
            use(tmp_path / out)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_out_that_cannot_be_written_is_refused_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("gpt2.prepare.output_folder.TemporaryFile", refuse)
    with pytest.raises(DataError, match="cannot write to .*deep/out: Permission denied; choose"):
        check_usable(tmp_path / "deep/out")
    assert list(tmp_path.iterdir()) == []


def test_a_usable_out_is_left_as_it_is(tmp_path: Path) -> None:
    check_usable(tmp_path / "deep/out")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out.json").mkdir()
    check_usable(tmp_path / "out.json")
    assert (tmp_path / "out.json").is_dir()


def test_a_file_named_unfinished_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "unfinished").write_text("notes")
    with pytest.raises(DataError, match="unfinished is a file, not of a preparation; choose"):
        start(tmp_path, tokenizer, force=True)
    assert (tmp_path / "unfinished").read_text() == "notes"
