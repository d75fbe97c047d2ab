import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from gpt2.config import PrepareConfig
from gpt2.data.manifest import read_manifest
from gpt2.errors import DataError
from gpt2.prepare import sources
from gpt2.prepare.pipeline import prepare
from gpt2.prepare.sources import find, in_memory
from llm_tokenizer import Tokenizer

Hub = Any  # of conftest.py


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with files in it."""
    for name in ("b.txt", "a.txt", "c.md", "deep/d.jsonl", "deep/e.parquet", "deep/f.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["c.md", "a.txt"], ["c.md", "a.txt"]),
        (["deep"], ["deep/d.jsonl", "deep/e.parquet"]),
        (["*.txt", "deep/*.py"], ["a.txt", "b.txt", "deep/f.py"]),
        (["."], ["a.txt", "b.txt", "deep/d.jsonl", "deep/e.parquet"]),
        (["**/*.parquet"], ["deep/e.parquet"]),
        (["a.txt", "*.txt"], ["a.txt", "b.txt"]),
    ],
)
def test_files_folders_and_globs_give_files_in_order(
    place: Path, words: list[str], names: list[str]
) -> None:
    found = find(words)
    assert [one.name for one in found.files] == names
    for one in found.files:
        assert (one.bytes, one.fetch()) == (len(one.name), Path(one.name))
        assert one.checksum == hashlib.sha256(one.name.encode()).hexdigest()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["missing.txt"], "cannot read missing.txt: No such file"),
        (["deep/missing"], "cannot read deep/missing: No such file"),
        (["x*.txt"], "no file matches 'x\\*.txt'"),
        (["empty"], "empty holds no .txt, .jsonl, .json or .parquet file"),
        ([""], "must have a name"),
        ([os.devnull], "must be a file or a folder, it is neither"),
        (["a.txt", "owner/name"], "cannot read owner/name: No such file"),
    ],
)
def test_what_is_not_there_is_told(place: Path, words: list[str], told: str) -> None:
    (place / "empty").mkdir()
    with pytest.raises(DataError, match=told):
        find(words)


def test_a_name_that_is_not_utf8_is_told(place: Path) -> None:
    name = os.fsdecode(b"bad\xff.txt")
    try:
        (place / name).write_text("x")
    except OSError:
        pytest.skip("the file system takes no such name")
    with pytest.raises(DataError, match="must have a name in UTF-8"):
        find(["."])


def test_a_subset_of_files_is_refused(place: Path) -> None:
    with pytest.raises(DataError, match="a subset or revision is of a data set on the hub"):
        find(["a.txt"], subset="x")


def test_a_file_that_was_not_touched_is_not_read_for_its_checksum_again(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = find(["a.txt"])
    with monkeypatch.context() as patch:
        patch.setattr("hashlib.file_digest", None)
        assert find(["a.txt"], before=before) == before


def test_a_change_is_seen_whose_size_and_time_are_those_before(place: Path) -> None:
    before = find(["a.txt"])
    described = (place / "a.txt").stat()
    (place / "a.txt").write_text("A.txt")
    os.utime(place / "a.txt", ns=(described.st_atime_ns, described.st_mtime_ns))
    assert find(["a.txt"], before=before) != before


def test_documents_in_memory_are_told_apart_by_their_borders() -> None:
    one, other = in_memory("x", ["ab", "c"]), in_memory("x", ["a", "bc"])
    assert one.files[0].checksum != other.files[0].checksum
    assert in_memory("x", ["ab", "c"]) == one


@pytest.mark.parametrize(
    ("subset", "files"),
    [
        (None, ["sample/10BT/000.parquet", "sample/10BT/001.parquet"]),
        ("sample-100BT", ["sample/100BT/000.parquet"]),
        ("CC-MAIN-2024-10", ["data/CC-MAIN-2024-10/a.parquet"]),
        ("default", ["data/CC-MAIN-2013-20/a.parquet", "data/CC-MAIN-2024-10/a.parquet"]),
    ],
)
def test_the_subsets_of_fineweb_edu_lie_in_folders_of_their_own(
    hub_server: Hub, subset: str | None, files: list[str]
) -> None:
    everything = (
        "README.md", "sample/10BT/001.parquet", "sample/10BT/000.parquet",
        "sample/100BT/000.parquet", "data/CC-MAIN-2013-20/a.parquet",
        "data/CC-MAIN-2024-10/a.parquet",
    )  # fmt: skip
    publish(hub_server, "HuggingFaceFW/fineweb-edu", *everything)
    found = find(["fineweb-edu"], subset=subset)
    assert [one.name for one in found.files] == files
    assert found.revision == hub_server.commit
    for one in found.files:
        path = one.fetch()
        assert isinstance(path, Path)
        assert path.read_text() == one.name
    assert hub_server.asked == ["README.md", *(Path(name).name for name in files)]


def test_another_data_set_gives_its_files_for_training_or_a_folder_or_glob(
    hub_server: Hub,
) -> None:
    publish(
        hub_server, "someone/texts",
        "data/test-0.parquet", "data/train-0.parquet", "data/train-1.parquet", "de/x.parquet",
    )  # fmt: skip
    for subset, files in (
        (None, ["data/train-0.parquet", "data/train-1.parquet"]),
        ("de", ["de/x.parquet"]),
        ("data/*-0.parquet", ["data/test-0.parquet", "data/train-0.parquet"]),
    ):
        found = find(["someone/texts"], subset=subset)
        assert [one.name for one in found.files] == files
    with pytest.raises(DataError, match="'someone/texts' has no parquet file in 'fr'; try"):
        find(["someone/texts"], subset="fr")


def publish(server: Hub, repository: str, *files: str) -> None:
    for name in files:
        path = server.folder / "datasets" / repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def test_what_was_downloaded_is_there_offline(
    hub_server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(hub_server, "someone/texts", "train/0.parquet", "train/1.parquet")
    online = find(["someone/texts"])
    contents = [one.fetch().read_text() for one in online.files]  # type: ignore[union-attr]
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    offline = find(["someone/texts"])
    assert offline == online
    assert [one.fetch().read_text() for one in offline.files] == contents  # type: ignore[union-attr]


def test_a_subset_that_was_downloaded_is_there_offline(
    hub_server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(hub_server, "someone/texts", "de/0.parquet", "en/0.parquet")
    online = find(["someone/texts"], subset="de")
    for one in online.files:
        one.fetch()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert find(["someone/texts"], subset="de") == online
    with pytest.raises(DataError, match="is not in the cache, or not all of it"):
        find(["someone/texts"])


@pytest.mark.parametrize(
    ("name", "revision", "told"),
    [
        ("someone/else", None, "the data set 'someone/else' is no repository on the Hugging Face"),
        ("someone/texts", "v9", "the data set 'someone/texts' has no revision 'v9'"),
        ("some one/x", None, "is not a name of the form owner/name"),
    ],
)
def test_a_data_set_that_is_not_there_is_told_in_one_line(
    hub_server: Hub, name: str, revision: str | None, told: str
) -> None:
    publish(hub_server, "someone/texts", "train/0.parquet")
    with pytest.raises(DataError) as raised:
        find([name], revision=revision)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_data_set_that_was_never_downloaded_is_told_offline(
    hub_server: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="'HuggingFaceFW/fineweb-edu' is not in the cache"):
        find(["fineweb-edu"])


SPEECHES = b"First Citizen:\nSpeak.\n\nAll:\nSpeak, speak.\n"


@pytest.fixture
def served_shakespeare(hub_server: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A text of another length in place of tinyshakespeare; returns where it is served from."""
    path: Path = hub_server.folder / "datasets/a/b/input.txt"
    path.parent.mkdir(parents=True)
    path.write_bytes(SPEECHES)
    url = f"{hub_server.url}/datasets/a/b/resolve/main/input.txt"
    monkeypatch.setattr(sources, "TINYSHAKESPEARE_URL", url)
    monkeypatch.setattr(sources, "TINYSHAKESPEARE_SHA256", hashlib.sha256(SPEECHES).hexdigest())
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "home"))
    return path


def test_tinyshakespeare_is_downloaded_once(hub_server: Hub, served_shakespeare: Path) -> None:
    for _ in range(2):
        path = find(["tinyshakespeare"]).files[0].fetch()
        assert isinstance(path, Path)
        assert path.read_bytes() == SPEECHES
    assert hub_server.asked == ["input.txt"]


def test_another_text_than_tinyshakespeare_is_refused(served_shakespeare: Path) -> None:
    served_shakespeare.write_bytes(SPEECHES + b"!")
    with pytest.raises(DataError, match="must have the sha256 .* gave 43 bytes with"):
        find(["tinyshakespeare"]).files[0].fetch()


def test_tinyshakespeare_without_a_network_is_told_in_one_line(
    served_shakespeare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="could not be downloaded .*; with no network, give a file"):
        find(["tinyshakespeare"]).files[0].fetch()


def test_a_speech_of_tinyshakespeare_is_a_document_unless_a_separator_is_set(
    served_shakespeare: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    source = find("tinyshakespeare")
    for name, config, documents in (
        ("speeches", PrepareConfig(hold_out=0.5), [1, 1]),
        ("lines", PrepareConfig(hold_out=0.0, separator="\n"), [4]),
    ):
        manifest = prepare(source, tokenizer, tmp_path / name, config)
        assert [shard.documents for shard in manifest.shards] == documents
    assert read_manifest(tmp_path / "speeches").settings["separator"] == "\n\n"


def test_a_file_of_a_data_set_is_for_training_if_train_is_a_word_of_its_path(
    hub_server: Hub,
) -> None:
    publish(
        hub_server, "someone/texts",
        "data/pretrain_val-0.parquet", "constraint/0.parquet", "train/0.parquet",
        "train/validation/0.parquet", "v1/TRAIN-0.parquet", "v2/train1.parquet",
    )  # fmt: skip
    found = find(["someone/texts"])
    names = ["train/0.parquet", "v1/TRAIN-0.parquet", "v2/train1.parquet"]
    assert [file.name for file in found.files] == names
