import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tiktoken

from gpt2.config import PrepareConfig
from gpt2.data.manifest import read_manifest
from gpt2.data.shard_folder import open_shards
from gpt2.data.verification import find_faults
from gpt2.errors import DataError
from gpt2.prepare.output_folder import previous_source
from gpt2.prepare.pipeline import Progress, prepare
from gpt2.prepare.sources import find, in_memory
from llm_tokenizer import Tokenizer

Hub = Any  # of conftest.py

DOCUMENTS = [f"document {i}, naïve 日本 " + "and more " * (i % 13) for i in range(300)]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpt2.prepare.file_formats.BATCH_BYTES", 1000)
    monkeypatch.setattr("gpt2.prepare.file_formats.DECODED_ROWS", 7)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder of three files of documents in three formats, all documents being different."""
    folder = tmp_path / "source"
    folder.mkdir()
    write_parquet(folder / "a.parquet", DOCUMENTS[:150])
    lines = (json.dumps({"text": text}) + "\n" for text in DOCUMENTS[150:250])
    (folder / "b.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "c.txt").write_text("\n".join(DOCUMENTS[250:]), encoding="utf-8")
    return folder


def write_parquet(path: Path, texts: list[str]) -> None:
    """Write texts in the schema of FineWeb-Edu."""
    columns = {
        "text": texts,
        "id": [f"<urn:uuid:{k}>" for k in range(len(texts))],
        "dump": ["CC-MAIN-2024-10"] * len(texts),
        "url": [f"https://example.org/{k}" for k in range(len(texts))],
        "file_path": ["s3://x"] * len(texts),
        "language": ["en"] * len(texts),
        "language_score": [0.9] * len(texts),
        "token_count": [len(text) // 4 for text in texts],
        "score": [3.1] * len(texts),
        "int_score": [3] * len(texts),
    }
    pq.write_table(pa.table(columns), path, compression="zstd", row_group_size=20)


SETTINGS = PrepareConfig(separator="\n", shard_tokens=1000, val_tokens=5000)


def prepared(
    source: Path, out: Path, tokenizer: Tokenizer, config: PrepareConfig = SETTINGS, **options: Any
) -> dict[str, bytes]:
    """Prepare a folder and return all that lies in it afterwards."""
    prepare(find([str(source)]), tokenizer, out, config, **options)
    return files_in(out)


def files_in(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def texts_of(out: Path, split: str = "both") -> list[str]:
    """Return the documents that the shards hold, read as llm.c reads them."""
    tokenizer = Tokenizer.load(out)
    texts: list[str] = []
    for name in ("train", "val") if split == "both" else (split,):
        tokens = [i for path in sorted(out.glob(f"{name}_*.bin")) for i in llm_c_tokens(path)]
        texts += tokenizer.decode(tokens).split("<|endoftext|>")[1:]
    return texts


def llm_c_tokens(path: Path) -> list[int]:
    content = path.read_bytes()
    header = np.frombuffer(content[:1024], "<i4")
    assert header[:2].tolist() == [20240520, 1]
    tokens = np.frombuffer(content[1024:], "<u2")
    assert len(tokens) == header[2]
    return tokens.tolist()


def test_every_document_stands_in_one_split_whole_and_in_order(
    source: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    prepared(source, tmp_path / "out", tokenizer)
    train, val = (texts_of(tmp_path / "out", split) for split in ("train", "val"))
    assert len(val) == 30
    assert sorted(train + val) == sorted(DOCUMENTS)
    places = [DOCUMENTS.index(text) for text in train]
    assert places == sorted(places)


def test_the_tokens_are_tiktokens_each_document_after_the_end_of_text(tmp_path: Path) -> None:
    tokenizer = Tokenizer.gpt2()
    peer = tiktoken.Encoding(
        "gpt2",
        pat_str=r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
        mergeable_ranks=dict(tokenizer.vocabulary.token_ids),
        special_tokens={"<|endoftext|>": 50256},
    )
    texts = [*DOCUMENTS, "<|endoftext|> in the text", "\0", "a" * 5000]
    write_parquet(tmp_path / "x.parquet", texts)
    config = PrepareConfig(hold_out=0.0, shard_tokens=777)
    manifest = prepare(find([str(tmp_path / "x.parquet")]), tokenizer, tmp_path / "out", config)
    found = [i for shard in manifest.shards for i in llm_c_tokens(tmp_path / "out" / shard.file)]
    expected = [i for text in texts for i in (50256, *peer.encode_ordinary(text))]
    assert found == expected
    assert [s.tokens for s in manifest.shards[:-1]] == [777] * (len(manifest.shards) - 1)


def test_the_manifest_counts_what_the_shards_hold(
    source: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    prepared(source, tmp_path / "out", tokenizer)
    manifest = read_manifest(tmp_path / "out")
    for split, texts in (("train", 270), ("val", 30)):
        shards = manifest.of(split)  # type: ignore[arg-type]
        assert len(shards) > 1
        assert sum(shard.documents for shard in shards) == texts
        given = texts_of(tmp_path / "out", split)
        assert sum(shard.bytes for shard in shards) == sum(len(t.encode()) for t in given)
    assert find_faults(tmp_path / "out") == []


def test_the_shards_are_the_same_for_any_number_of_workers(
    source: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    one = prepared(source, tmp_path / "1", tokenizer, workers=1)
    assert len([name for name in one if name.startswith("train")]) > 10
    for workers in (2, 5):
        assert prepared(source, tmp_path / str(workers), tokenizer, workers=workers) == one


def test_what_is_complete_is_not_done_again(
    source: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    first = prepared(source, tmp_path / "out", tokenizer)
    seen: list[Progress] = []
    assert prepared(source, tmp_path / "out", tokenizer, show=seen.append) == first
    assert seen == []


def test_a_shard_that_is_gone_is_told(source: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    files = prepared(source, tmp_path / "out", tokenizer)
    (tmp_path / "out/train_000003.bin").unlink()
    with pytest.raises(DataError, match=r"cannot read the shard .*train_000003.bin"):
        prepared(source, tmp_path / "out", tokenizer)
    assert prepared(source, tmp_path / "out", tokenizer, force=True) == files


def test_progress_is_told(source: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    seen: list[Progress] = []
    prepared(source, tmp_path / "out", tokenizer, show=seen.append)
    done = [progress.done for progress in seen]
    assert len(done) > 5
    assert done == sorted(done)
    assert (done[-1], seen[-1].documents) == (1.0, 300)
    assert seen[-1].text_bytes == sum(len(text.encode()) for text in DOCUMENTS)


@pytest.mark.parametrize("config", [SETTINGS, PrepareConfig(separator="\n", hold_out=0.3)])
def test_the_held_out_tokens_are_the_first_of_the_hold_out(
    source: Path, tokenizer: Tokenizer, tmp_path: Path, config: PrepareConfig
) -> None:
    whole = prepared(source, tmp_path / "whole", tokenizer, config)
    val = texts_of(tmp_path / "whole", "val")
    few = PrepareConfig(**vars(config) | {"val_tokens": 400})
    prepared(source, tmp_path / "few", tokenizer, few)
    first = texts_of(tmp_path / "few", "val")
    assert 3 < len(first) < len(val)
    assert first == val[: len(first)]
    tokens = sum(shard.tokens for shard in read_manifest(tmp_path / "few").of("val"))
    following = len(tokenizer.encode(val[len(first)])) + 1
    assert tokens <= 400 < tokens + following
    assert sorted(texts_of(tmp_path / "few")) == sorted(DOCUMENTS)
    assert whole != files_in(tmp_path / "few")


def test_another_seed_holds_other_documents_out(
    source: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    held = []
    for seed in (0, 1):
        config = PrepareConfig(separator="\n", seed=seed)
        prepared(source, tmp_path / str(seed), tokenizer, config)
        held.append(texts_of(tmp_path / str(seed), "val"))
    assert held[0] != held[1]


def test_a_document_of_many_batches_is_one_document(
    tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llm_tokenizer.text_files.PART_BYTES", 256)
    long = [" ".join(DOCUMENTS[k : k + 90]) for k in range(0, 270, 90)]
    for number, text in enumerate(long):
        (tmp_path / f"{number}.txt").write_text(text, encoding="utf-8")
    found = find([str(tmp_path / "*.txt")])
    manifest = prepare(found, tokenizer, tmp_path / "out", PrepareConfig(shard_tokens=1000))
    assert texts_of(tmp_path / "out", "val") == [long[1]]
    assert texts_of(tmp_path / "out", "train") == [long[0], long[2]]
    assert sum(shard.documents for shard in manifest.shards) == 3


@pytest.mark.parametrize("parts", [2, 5, 16])
def test_the_parts_are_disjoint_and_together_the_whole(
    source: Path, tokenizer: Tokenizer, tmp_path: Path, parts: int
) -> None:
    texts: list[str] = []
    for number in range(1, parts + 1):
        config = PrepareConfig(separator="\n", shard_tokens=1000, part=f"{number}/{parts}")
        prepared(source, tmp_path / "out" / f"{number:02}", tokenizer, config)
        texts += texts_of(tmp_path / "out" / f"{number:02}")
    assert sorted(texts) == sorted(DOCUMENTS)
    data = open_shards(tmp_path / "out")
    tokens = sum(len(shard) for shard in (*data.train, *data.val))
    assert tokens == sum(len(tokenizer.encode(text)) + 1 for text in DOCUMENTS)

    shutil.rmtree(tmp_path / "out" / "02")
    with pytest.raises(DataError, match=f"must hold all {parts} parts of a source, each once"):
        open_shards(tmp_path / "out")


def test_parts_of_another_source_are_not_mixed(
    source: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    for number in (1, 2):
        config = PrepareConfig(separator="\n", part=f"{number}/2", seed=number)
        prepared(source, tmp_path / "out" / str(number), tokenizer, config)
    with pytest.raises(DataError, match="made from another source, or with other settings"):
        open_shards(tmp_path / "out")


# Preparing in a process that ends at once at a moment of its own choice, as if it were killed.
KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import gpt2.prepare.pipeline as p, gpt2.prepare.file_formats as r
from gpt2.config import PrepareConfig
from gpt2.prepare.sources import find
from llm_tokenizer import Tokenizer
r.BATCH_BYTES = 1000
r.DECODED_ROWS = 7
p.SECONDS_BETWEEN_COMMITS = p.COMMIT_REST = 0
source, out, tokenizer, config = find([sys.argv[1]]), Path(sys.argv[2]), None, None
tokenizer = Tokenizer.load(sys.argv[3])
config = PrepareConfig(separator="\\n", shard_tokens=1000, val_tokens=5000)

def start(before):
    child = os.fork()
    if child == 0:
        try:
            before()
            p.prepare(source, tokenizer, out, config, workers=random.choice([1, 2, 3]))
            os._exit(0)
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
    return child

def ended(child):
    status = os.waitpid(child, 0)[1]
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 9, -9), code
    return code == 0
"""

AT_RANDOM_MOMENTS = (
    KILLED
    + """
random.seed(int(sys.argv[4]))
began = time.perf_counter()
assert ended(start(lambda: None))
whole = time.perf_counter() - began
import shutil; shutil.rmtree(out)
kills = 0
while kills < 50:
    child = start(lambda: None)
    time.sleep(random.uniform(0, whole / 4))
    os.kill(child, signal.SIGKILL)
    kills += 1
    if ended(child) and kills < 50:
        shutil.rmtree(out)
while not ended(start(lambda: None)):
    pass
print(kills)
"""
)

AT_EVERY_CALL = (
    KILLED
    + """
import shutil

def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}

expected, calls = files(Path(sys.argv[4])), 0
while not ended(start(lambda: dies_at(calls))):
    assert ended(start(lambda: None))
    assert files(out) == expected, calls
    shutil.rmtree(out)
    calls += 1
print(calls)
"""
)


def run_killed(program: str, source: Path, out: Path, vocabulary: Path, last: object) -> int:
    args = [sys.executable, "-W", "ignore", "-c", program, source, out, vocabulary, str(last)]
    done = subprocess.run(args, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout.split()[-1])


@pytest.mark.kills
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("number", [0, 1])
def test_50_kills_at_random_moments_lose_and_double_nothing(
    source: Path, tokenizer: Tokenizer, tmp_path: Path, number: int
) -> None:
    tokenizer.save(tmp_path / "vocabulary")
    expected = prepared(source, tmp_path / "whole", tokenizer)
    out = tmp_path / "out"
    assert run_killed(AT_RANDOM_MOMENTS, source, out, tmp_path / "vocabulary", number) == 50
    assert files_in(out) == expected


@pytest.mark.kills
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_kill_at_each_call_that_makes_a_file_lasting_loses_and_doubles_nothing(
    tokenizer: Tokenizer, tmp_path: Path, dies_at: str
) -> None:
    (tmp_path / "a.txt").write_text("\n".join(DOCUMENTS[:40]), encoding="utf-8")
    source, whole = tmp_path / "a.txt", tmp_path / "whole"
    tokenizer.save(tmp_path / "vocabulary")
    prepared(source, whole, tokenizer)
    program = dies_at + AT_EVERY_CALL
    calls = run_killed(program, source, tmp_path / "out", tmp_path / "vocabulary", whole)
    assert calls > 40


@pytest.fixture
def interrupted(source: Path, tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """A folder in which a preparation stopped in the middle."""
    out = tmp_path / "interrupted"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gpt2.prepare.pipeline.SECONDS_BETWEEN_COMMITS", 0)
        patch.setattr("gpt2.prepare.pipeline.COMMIT_REST", 0)

        def stop(progress: Progress) -> None:
            if progress.documents > 180:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            prepare(find([str(source)]), tokenizer, out, SETTINGS, show=stop)
    return out


def test_only_complete_shards_lie_in_the_folder_before_it_is(
    interrupted: Path, source: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    whole = prepared(source, tmp_path / "whole", tokenizer)
    names = {path.name for path in interrupted.iterdir()}
    assert "manifest.json" not in names
    shards = [name for name in names if name.endswith(".bin")]
    assert len(shards) > 3
    for name in shards:
        assert (interrupted / name).read_bytes() == whole[name]
    assert names - set(shards) == {"unfinished"}
    with pytest.raises(DataError, match="is not complete: start the same gpt2 prepare again"):
        open_shards(interrupted)


def test_an_interrupted_preparation_goes_on(
    interrupted: Path, source: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    whole = prepared(source, tmp_path / "whole", tokenizer)
    seen: list[Progress] = []
    assert prepared(source, interrupted, tokenizer, show=seen.append) == whole
    assert seen[0].documents > 180


def test_an_unfinished_shard_that_was_damaged_since_is_told(
    interrupted: Path, source: Path, tokenizer: Tokenizer
) -> None:
    path = next((interrupted / "unfinished").glob("train_*.bin"))
    content = bytearray(path.read_bytes())
    content[1024] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path.name} is damaged: its checksum is another"):
        prepared(source, interrupted, tokenizer)


def test_a_full_shard_that_has_gone_since_is_told(
    interrupted: Path, source: Path, tokenizer: Tokenizer
) -> None:
    (interrupted / "train_000001.bin").unlink()
    with pytest.raises(DataError, match=r"cannot read the shard .*train_000001.bin"):
        prepared(source, interrupted, tokenizer)


@pytest.mark.parametrize("calls", range(12))
def test_a_start_over_that_is_killed_leaves_nothing_that_counts(
    interrupted: Path, source: Path, tokenizer: Tokenizer, tmp_path: Path, calls: int
) -> None:
    whole = prepared(source, tmp_path / "whole", tokenizer)
    left = [calls]
    unlink = Path.unlink

    def dying(path: Path, missing_ok: bool = False) -> None:
        if path.name != "lock":
            left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        unlink(path, missing_ok=missing_ok)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "unlink", dying)
        prepared(source, interrupted, tokenizer, force=True)
    try:
        prepared(source, interrupted, tokenizer)
    except DataError:  # there are shards that nobody knows any more
        prepared(source, interrupted, tokenizer, force=True)
    assert files_in(interrupted) == whole


def otherwise(source: Path, what: str) -> PrepareConfig:
    """Change the source, or return other settings."""
    if what == "a setting":
        return PrepareConfig(separator="\n", shard_tokens=2000, val_tokens=5000, seed=3)
    if what == "a file":
        with (source / "c.txt").open("a") as file:
            file.write("!")
    if what == "a byte":
        content = (source / "b.jsonl").read_bytes()
        (source / "b.jsonl").write_bytes(content.replace(b"and more", b"and m0re", 1))
    if what == "files":
        (source / "c.txt").unlink()
        (source / "d.txt").write_text("new")
    return SETTINGS


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("a setting", "shard_tokens was 1000, is 2000; seed was 0, is 3. Put that back"),
        ("a file", "c.txt has changed. Put that back"),
        ("a byte", "b.jsonl has changed"),
        ("files", r"c\.txt is gone; .*d\.txt is new"),
        ("the tokenizer", "the tokenizer is another"),
    ],
)
def test_what_has_changed_is_told_and_force_starts_over(
    interrupted: Path,
    source: Path,
    tokenizer: Tokenizer,
    tmp_path: Path,
    complete: bool,
    what: str,
    told: str,
) -> None:
    if complete:
        prepared(source, interrupted, tokenizer)
    before = files_in(interrupted)
    config = otherwise(source, what)
    if what == "the tokenizer":
        tokenizer = Tokenizer.train(DOCUMENTS, 290)
    with pytest.raises(DataError, match=told):
        prepared(source, interrupted, tokenizer, config)
    left = files_in(interrupted)
    left.pop("unfinished/lock", None)
    before.pop("unfinished/lock", None)
    assert left == before
    again = prepared(source, interrupted, tokenizer, config, force=True)
    assert again == prepared(source, tmp_path / "fresh", tokenizer, config)


def test_force_removes_only_what_was_prepared(
    source: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    prepared(source, out, tokenizer)
    (out / "notes.md").write_text("mine")
    config = PrepareConfig(separator="\n", shard_tokens=100_000)
    files = prepared(source, out, tokenizer, config, force=True)
    assert files.pop("notes.md") == b"mine"
    assert files == prepared(source, tmp_path / "fresh", tokenizer, config)


def test_force_leaves_a_folder_of_somebody_elses_alone(
    source: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    for name in ("manifest.json", "vocab.json", "train_000000.bin.backup"):
        (tmp_path / "out" / name).write_text("{}")
    with pytest.raises(DataError, match="manifest.json is not of a preparation"):
        prepared(source, tmp_path / "out", tokenizer, force=True)
    assert len(files_in(tmp_path / "out")) == 3


def test_shards_that_nobody_knows_are_not_written_over(
    source: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    (tmp_path / "train_000000.bin").write_bytes(b"precious")
    with pytest.raises(DataError, match=r"holds train_000000.bin, and no manifest"):
        prepared(source, tmp_path, tokenizer)
    assert (tmp_path / "train_000000.bin").read_bytes() == b"precious"


def test_a_folder_and_a_vocabulary_of_somebodys_own_are_left_alone(
    source: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    for name, content in (("unfinished/chapter.md", "draft"), ("vocab.json", "{}")):
        out = tmp_path / name.replace("/", "-")
        (out / name).parent.mkdir(parents=True)
        (out / name).write_text(content)
        with pytest.raises(DataError, match=f"holds {Path(name).name}"):
            prepared(source, out, tokenizer)
        assert (out / name).read_text() == content


def test_the_vocabulary_may_lie_in_the_folder_already(
    source: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    tokenizer.save(tmp_path / "out")
    files = prepared(source, tmp_path / "out", tokenizer)
    assert files == prepared(source, tmp_path / "fresh", tokenizer)


def test_a_file_that_cannot_be_read_stops_the_run_and_all_before_it_is_safe(
    source: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    whole = prepared(source, tmp_path / "whole", tokenizer)
    good = (source / "c.txt").read_bytes()
    (source / "c.txt").write_bytes(good[:-3] + b"\xff" + good[-2:])
    told = r"c\.txt must be UTF-8 text: byte \d+ is not"
    for _ in range(2):  # the second start goes on from there, to the same file
        with pytest.raises(DataError, match=told):
            prepared(source, tmp_path / "out", tokenizer, workers=2)
        state = json.loads((tmp_path / "out/unfinished/state.json").read_text())
        assert state["documents"] == 250
    shards = [path for path in (tmp_path / "out").glob("train_*.bin")]
    assert shards
    assert all(path.read_bytes() == whole[path.name] for path in shards)


def test_a_source_without_text_is_refused_and_leaves_nothing(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    source = in_memory("nothing", ["", ""])
    told = "nothing must have some text to train on, .* rows that were skipped: 2 empty"
    with pytest.raises(DataError, match=told):
        prepare(source, tokenizer, tmp_path / "out", PrepareConfig())
    assert not (tmp_path / "out").exists()


def test_skipped_rows_are_counted_across_interruptions(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    lines = [json.dumps({"text": text}) for text in (*DOCUMENTS[:40], "", None, 5, "last")]
    (tmp_path / "x.jsonl").write_text("\n".join(lines) + "\nno JSON\n", encoding="utf-8")
    found = find([str(tmp_path / "x.jsonl")])
    manifest = prepare(found, tokenizer, tmp_path / "out", PrepareConfig())
    assert manifest.skipped == {"empty": 1, "not text": 2, "null": 1}
    assert read_manifest(tmp_path / "out") == manifest


def test_two_processes_do_not_prepare_one_folder(
    source: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    def prepare_too(progress: Progress) -> None:
        with pytest.raises(DataError, match="another process is preparing"):
            prepared(source, tmp_path / "out", tokenizer)
        told.append(progress)

    told: list[Progress] = []
    files = prepared(source, tmp_path / "out", tokenizer, show=prepare_too)
    assert told
    assert files == prepared(source, tmp_path / "alone", tokenizer)


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import gpt2.prepare.pipeline as p, gpt2.prepare.file_formats as r
from gpt2.config import PrepareConfig
from gpt2.errors import DataError
from gpt2.prepare.sources import find
from llm_tokenizer import Tokenizer
r.BATCH_BYTES = 1000
r.DECODED_ROWS = 7
p.SECONDS_BETWEEN_COMMITS = p.COMMIT_REST = 0
source, tokenizer = find([sys.argv[1]]), Tokenizer.load(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), resource.RLIM_INFINITY))
try:
    p.prepare(source, tokenizer, Path(sys.argv[2]), PrepareConfig(separator="\\n"), workers=2)
except DataError as error:
    assert str(error).startswith(f"cannot write to {sys.argv[2]}: "), error
    assert "the same command goes on from there" in str(error)
    print(1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no limit of a file's size")
def test_a_file_system_that_takes_no_more_loses_nothing(
    source: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    config = PrepareConfig(separator="\n")
    whole = prepared(source, tmp_path / "whole", tokenizer, config)
    tokenizer.save(tmp_path / "vocabulary")
    out = tmp_path / "out"
    assert run_killed(FULL_DISK, source, out, tmp_path / "vocabulary", 9000) > 0
    seen: list[Progress] = []
    assert prepared(source, out, tokenizer, config, show=seen.append) == whole
    assert seen[0].documents > 50


def test_a_vocabulary_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    tokenizer = Tokenizer.train(["some text"], 300)
    vocabulary = tokenizer.vocabulary
    large = Tokenizer(type(vocabulary)(vocabulary.token_ids, vocabulary.merges, {"<|x|>": 70000}))
    with pytest.raises(DataError, match="ids up to 65535, the vocabulary's go up to 70000"):
        prepare(in_memory("x", DOCUMENTS), large, tmp_path / "out", PrepareConfig())


def publish(server: Hub) -> None:
    folder = server.folder / "datasets/HuggingFaceFW/fineweb-edu/sample/10BT"
    folder.mkdir(parents=True)
    for number in range(3):
        write_parquet(folder / f"{number:03}_00000.parquet", DOCUMENTS[100 * number :][:100])


def test_fineweb_edu_survives_connections_that_drop(
    hub_server: Hub, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(hub_server)
    found = find(["fineweb-edu"])
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    hub_server.drops = 2
    prepare(found, tokenizer, tmp_path / "out", SETTINGS)
    assert sorted(texts_of(tmp_path / "out")) == sorted(DOCUMENTS)
    assert len(hub_server.ranges) == 2  # the rest was asked for, not all of it again
    assert read_manifest(tmp_path / "out").revision == hub_server.commit


def test_a_download_that_fails_is_told_and_the_next_start_goes_on_from_there(
    hub_server: Hub, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(hub_server)
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    found = find(["fineweb-edu"])
    found.files[0].fetch()
    hub_server.drops = 1000
    told = r"sample/10BT/001_00000.parquet: the data set .* could not be downloaded .*start again"
    with pytest.raises(DataError, match=told):
        prepare(found, tokenizer, tmp_path / "out", SETTINGS)
    assert json.loads((tmp_path / "out/unfinished/state.json").read_text())["documents"] == 100

    # What a killed process leaves of a download is not taken for the file.
    blobs = tmp_path / "cache/datasets--HuggingFaceFW--fineweb-edu/blobs"
    for one in found.files[1:]:
        (blobs / f"{one.checksum}.0123abcd.incomplete").write_bytes(b"PAR1 half of it")
    hub_server.drops = 0
    hub_server.asked.clear()
    again = find(["fineweb-edu"], before=previous_source(tmp_path / "out"))
    prepare(again, tokenizer, tmp_path / "out", SETTINGS)
    assert sorted(texts_of(tmp_path / "out")) == sorted(DOCUMENTS)
    assert "000_00000.parquet" not in hub_server.asked


def test_the_environment_of_the_hubs_client_counts(hub_server: Hub, tmp_path: Path) -> None:
    publish(hub_server)
    home = tmp_path / "home"
    environment = os.environ | {
        "HF_ENDPOINT": hub_server.url,
        "HF_HOME": str(home),
        "HF_TOKEN": "hf_secret",
        "HF_HUB_OFFLINE": "0",
    }
    outs = []
    for name, offline in (("online", "0"), ("offline", "1")):
        command = ["gpt2", "prepare", "fineweb-edu", "--out", str(tmp_path / name)]
        command += ["--hold-out", "0.2", "--workers", "2"]
        environment["HF_HUB_OFFLINE"] = offline
        done = subprocess.run(
            [sys.executable, "-m", *command], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "train  240 documents" in done.stderr
        outs.append(files_in(tmp_path / name))
    assert outs[0] == outs[1]
    assert "Bearer hf_secret" in hub_server.tokens
    assert list(home.glob("hub/datasets--HuggingFaceFW--fineweb-edu/blobs/*"))
