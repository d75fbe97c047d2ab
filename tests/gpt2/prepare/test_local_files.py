import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gpt2.errors import DataError
from gpt2.prepare.sources import find


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def write(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(name)


def names_of(*words: str) -> list[str]:
    return [file.name for file in find(words).files]


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make a folder unreadable, for the superuser, too, whom no permission bits stop."""
    scandir = os.scandir

    def make_unreadable(name: str) -> None:
        def scan(path: str = ".") -> object:
            if Path(path) == Path(name):
                raise PermissionError(13, "Permission denied", str(path))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", scan)

    return make_unreadable


@pytest.mark.parametrize("word", ["text", ".", "text/**/*.txt", "**/*.txt", "text/*/*.txt", "t*"])
def test_a_subfolder_that_may_not_be_read_is_an_error_that_names_it(
    here: Path, unreadable: Callable[[str], None], word: str
) -> None:
    write("text/a.txt", "text/private/b.txt")
    unreadable("text/private")
    with pytest.raises(DataError, match=r"cannot read the folder text/private: Permission denied"):
        find([word])


@pytest.mark.parametrize("word", ["text", "text/**/*.txt", "text/*/*.txt"])
def test_a_linked_subfolder_is_read(here: Path, word: str) -> None:
    write("elsewhere/deep/a.txt", "text/x/b.txt")
    Path("text/linked").symlink_to("../elsewhere/deep")
    assert names_of(word) == ["text/linked/a.txt", "text/x/b.txt"]


@pytest.mark.parametrize("word", [".", "**/*.txt", "**"])
def test_each_real_folder_is_read_once_so_that_loops_of_links_end(here: Path, word: str) -> None:
    write("b/a.txt", "b/c/d.txt")
    Path("a").symlink_to("b")
    Path("b/c/up").symlink_to("../..")
    Path("b/itself").symlink_to(".")
    assert names_of(word) == ["b/a.txt", "b/c/d.txt"]


@pytest.mark.parametrize("word", [".", "**/*.txt"])
def test_a_link_to_itself_is_no_folder(here: Path, word: str) -> None:
    write("a.txt")
    Path("loop").symlink_to("loop")
    assert names_of(word) == ["a.txt"]


def test_a_file_that_two_words_name_is_read_once(here: Path) -> None:
    write("b/a.txt", "b/c.txt")
    Path("link").symlink_to("b")
    assert names_of("b/c.txt", "b", "link", str(here / "b"), "./b/*") == ["b/c.txt", "b/a.txt"]


def test_suffixes_count_in_upper_case_too(here: Path) -> None:
    names = ["a.TXT", "b.Jsonl", "c.Parquet", "d.TXT.GZ", "e.txt.ZST", "f.NDJSON", "g.JSON"]
    write(*(f"text/{name}" for name in names))
    assert names_of("text") == [f"text/{name}" for name in names]


@pytest.mark.parametrize("word", [".", "**", "**/*", "*"])
def test_hidden_files_and_folders_are_left_out(here: Path, word: str) -> None:
    write("a.txt", ".b.txt", ".git/c.txt", "d/.ipynb_checkpoints/e.txt", "d/f.txt", "d/.g.txt")
    assert names_of(word) == ["a.txt", "d/f.txt"]


@pytest.mark.parametrize("word", [".cache", ".cache/*", ".c*/*.txt", "./.cache/a.txt"])
def test_a_hidden_folder_or_file_that_is_named_is_read(here: Path, word: str) -> None:
    write(".cache/a.txt", ".cache/.b.txt", ".config.txt")
    assert names_of(word) == [".cache/a.txt"]
    assert names_of(".config.txt") == [".config.txt"]


@pytest.mark.parametrize("word", ["text", "text/*.txt"])
def test_a_link_to_a_file_that_is_gone_is_an_error(here: Path, word: str) -> None:
    write("text/a.txt")
    Path("text/b.txt").symlink_to("gone.txt")
    with pytest.raises(DataError, match="cannot read text/b.txt: No such file"):
        find([word])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("word", ["text", "text/*.txt", "text/b.txt"])
def test_a_pipe_is_an_error(here: Path, word: str) -> None:
    write("text/a.txt")
    os.mkfifo("text/b.txt")
    with pytest.raises(DataError, match=r"text/b.txt must be a file or a folder, it is neither"):
        find([word])


def test_files_of_other_kinds_in_a_folder_are_listed_as_left_out(here: Path) -> None:
    write("text/a.txt", "text/notes.md", "text/deep/b.py", "text/.hidden.md", "text/README")
    assert find(["text"]).left_out == ("text/README", "text/deep/b.py", "text/notes.md")
    assert find(["text", "text/notes.md"]).left_out == ("text/README", "text/deep/b.py")
    assert find(["text/*.md"]).left_out == ()
    assert find(["te*"]).left_out == ("text/README", "text/deep/b.py", "text/notes.md")


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("t/*", ["t/a.txt", "t/b.md", "t/d/c.txt"]),
        ("t/**", ["t/a.txt", "t/b.md", "t/d/c.txt", "t/d/e.md"]),
        ("t/**/*.md", ["t/b.md", "t/d/e.md"]),
        ("t/d?*", ["t/dd"]),
        ("t/[ab].*", ["t/a.txt", "t/b.md"]),
        ("?/d/../*.txt", ["t/d/../a.txt"]),
        ("*/", ["t/a.txt", "t/d/c.txt"]),
    ],
)
def test_globs_are_those_of_the_shell(here: Path, word: str, names: list[str]) -> None:
    write("t/a.txt", "t/b.md", "t/d/c.txt", "t/d/e.md", "top.txt")
    if word == "t/d?*":
        write("t/dd")
    assert names_of(word) == names
    absolute = [file.name for file in find([f"{here}/{word}"]).files]
    assert absolute == [f"{here}/{name}" for name in names]


def test_a_name_with_brackets_is_a_file_if_there_is_one(here: Path) -> None:
    write("a[1].txt", "a1.txt")
    assert names_of("a[1].txt") == ["a[1].txt"]
    with pytest.raises(DataError, match="no file matches 'b\\[1\\].txt'"):
        find(["b[1].txt"])


def test_a_glob_of_folders_without_text_is_an_error(here: Path) -> None:
    write("code/a.py")
    with pytest.raises(DataError, match=r"'co\*' holds no .txt, .jsonl, .json or .parquet file"):
        find(["co*"])


@pytest.mark.parametrize("word", ["a\0b", "x" * 5000, "x" * 5000 + "*", "\0*"])
def test_a_name_that_no_file_can_have_is_an_error(here: Path, word: str) -> None:
    with pytest.raises(DataError):
        find([word])


@pytest.mark.parametrize("word", ["tinyshakespeare", "stdlib-docs", "fineweb-edu"])
def test_the_name_of_a_source_among_files_is_explained(here: Path, word: str) -> None:
    write("a.txt")
    with pytest.raises(DataError, match=f"{word} is a source by itself; name it without others"):
        find(["a.txt", word])
    write(f"{word}/b.txt")
    assert names_of("a.txt", word) == ["a.txt", f"{word}/b.txt"]
    assert names_of(f"./{word}") == [f"{word}/b.txt"]
