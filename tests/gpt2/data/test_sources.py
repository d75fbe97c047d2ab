from pathlib import Path

import pytest

from gpt2.data.sources import docstrings, read_text, stdlib_docs, text_files
from gpt2.errors import DataError


def test_docstrings_are_parsed_and_never_run(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        '"""Module."""\nraise SystemExit\nclass A:\n    """Class.\n\n    More."""\n'
        '    def f(self):\n        """Method."""\n    x = """no docstring"""\n'
    )
    assert docstrings(module) == "Module.\n\nClass.\n\nMore.\n\nMethod."


@pytest.mark.parametrize("content", [b"print 'Python 2'", b"\xff", b"x = '\0'", b""])
def test_a_file_that_does_not_parse_has_no_docstrings(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "module.py").write_bytes(content)
    assert docstrings(tmp_path / "module.py") == ""


def test_the_text_that_ships_with_python_is_prose_in_many_documents_without_repeats() -> None:
    documents = stdlib_docs()
    assert len(documents) > 300
    assert sum(map(len, documents)) > 1_000_000
    paragraphs = [p for document in documents for p in document.rstrip("\n").split("\n\n")]
    assert len({" ".join(p.split()) for p in paragraphs}) == len(paragraphs)
    assert any('The "if" statement is used for conditional execution' in d for d in documents)
    assert any("Parse a file into an ElementTree" in d or "argparse" in d for d in documents)


def test_a_folder_gives_its_text_files_and_a_separator_cuts_them(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("three", encoding="utf-8")
    (tmp_path / "a.txt").write_text("one\n%\ntwo\n%\n \n", encoding="utf-8")
    (tmp_path / "c.md").write_text("four", encoding="utf-8")
    assert text_files([tmp_path], "\n%\n") == ["one", "two", "three"]
    assert text_files([tmp_path / "c.md"]) == ["four"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot read .*: No such file"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"abc\xff", "must be UTF-8 text: byte 3 is not"),
        (b"ab\0c", "byte 2 is NUL, as in binary files"),
    ],
)
def test_a_file_that_is_no_text_is_named(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=told) as raised:
        read_text(path)
    assert "text.txt" in str(raised.value)


def test_a_folder_without_text_files_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no .txt file"):
        text_files([tmp_path])
