import shutil
from pathlib import Path

import pytest

from gpt2.cli.main import main
from llm_tokenizer import Tokenizer


@pytest.fixture
def here(tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a vocabulary in it."""
    monkeypatch.chdir(tmp_path)
    tokenizer.save(tmp_path / "vocabulary")
    return tmp_path


def prepare(*args: str) -> int:
    return main(["prepare", *args, "--tokenizer", "vocabulary"])


def write(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(f"the text of {name}")


def test_files_of_other_kinds_are_counted_with_an_example(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("texts/a.txt", "texts/b.txt", "texts/notes.md")
    assert prepare("texts", "--out", "one") == 0
    assert "1 file of another kind is left out: texts/notes.md\n" in capsys.readouterr().err
    write("texts/code/a.py", "texts/code/b.py", "texts/.hidden.py")
    assert prepare("texts", "--out", "three") == 0
    told = "3 files of other kinds are left out, such as texts/code/a.py\n"
    assert told in capsys.readouterr().err
    assert prepare("texts/*.txt", "--out", "none") == 0
    assert "left out" not in capsys.readouterr().err
    # A glob takes what it matches: a file that a folder beside it leaves out is not left out.
    (here / "texts/up").symlink_to(here / "texts")
    assert prepare("texts/**", "--out", "all") == 0
    error = capsys.readouterr().err
    taken = (here / "all/manifest.json").read_text()
    for name in ("notes.md", "a.py", "b.py"):
        assert name in taken
        assert name not in error


def test_a_folder_named_as_a_bundled_source_is_pointed_to(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt2.prepare.sources.stdlib_docs", lambda: ["some", "texts"])
    write("stdlib-docs/a.txt", "stdlib-docs/b.txt")
    assert prepare("stdlib-docs", "--out", "bundled") == 0
    told = "stdlib-docs is the bundled source; for the folder or file here write ./stdlib-docs\n"
    assert told in capsys.readouterr().err
    assert prepare("./stdlib-docs", "--out", "folder") == 0
    told = capsys.readouterr().err
    assert "bundled" not in told
    assert "train  1 documents" in told


@pytest.mark.parametrize("out", ["tokens.json", "tokens.tiktoken"])
def test_a_folder_may_have_any_name(here: Path, out: str) -> None:
    write("a.txt", "b.txt")
    assert prepare("a.txt", "b.txt", "--out", out) == 0
    assert prepare("a.txt", "b.txt", "--out", out) == 0  # started again, it finds all done
    assert main(["prepare", "--verify", out]) == 0
    assert main(["prepare", "a.txt", "--out", "again", "--tokenizer", out]) == 0


@pytest.mark.parametrize("out", ["a.txt", "a.txt/x"])
def test_an_unusable_out_is_refused_before_any_work(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    write("a.txt")
    monkeypatch.setattr("gpt2.prepare.sources.find", None)
    assert prepare("a.txt", "--out", out) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "choose another --out" in told


@pytest.mark.parametrize("args", [["texts", "--out", "loop/x"], ["loop/x.txt", "--out", "x"]])
def test_a_loop_of_links_is_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], args: list[str]
) -> None:
    write("texts/a.txt")
    Path("loop").symlink_to("loop")
    assert prepare(*args) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("workers", ["x", "1.5", "", "0", "-1"])
def test_workers_must_be_a_number(
    here: Path, capsys: pytest.CaptureFixture[str], workers: str
) -> None:
    assert prepare("a.txt", "--out", "x", f"--workers={workers}") == 2
    told = capsys.readouterr().err
    assert f"workers must be a whole number, at least 1, got {workers!r}" in told
    assert told.count("\n") == 1


def test_an_empty_part_is_explained(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("a.txt")
    assert prepare("a.txt", "--out", "parts/2", "--part", "2/2") == 0
    told = capsys.readouterr().err
    assert "part 2/2 is empty: a file is not divided, only parquet is, by row groups; " in told
    assert "nothing is held out" not in told


def test_a_single_document_needs_a_separator(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("a.txt")
    assert prepare("a.txt", "--out", "x") == 0
    told = capsys.readouterr().err
    assert "nothing is held out, as there is one document only" in told
    assert "--separator" in told


def test_each_part_in_a_folder_of_parts_is_verified(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("a.txt", "b.txt")
    for number in (1, 2):
        assert prepare("*.txt", "--out", f"parts/{number}", "--part", f"{number}/2") == 0
    assert main(["prepare", "--verify", "parts"]) == 0
    assert capsys.readouterr().out.endswith("parts is complete and as it was written\n")
    shutil.rmtree("parts/2")
    assert main(["prepare", "--verify", "parts"]) == 1
    assert "must hold all 2 parts of a source, each once, got 1/2" in capsys.readouterr().err


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize("content", ["[]", "null", "{}", "text"])
def test_a_foreign_manifest_is_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], content: str, force: list[str]
) -> None:
    write("a.txt")
    Path("out").mkdir()
    Path("out/manifest.json").write_text(content)
    assert prepare("a.txt", "--out", "out", *force) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "choose another --out" in told
    assert Path("out/manifest.json").read_text() == content
