"""A file is read as it grows, and anew where it was cut or replaced."""

import os
from pathlib import Path

import pytest

from gpt2.serve.watch.tail import Appended, Tail

NOTHING = Appended(b"", False)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows"


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


def test_what_is_appended_is_read_once(path: Path) -> None:
    tail = Tail(path)
    assert tail.look() == NOTHING  # it is not there yet
    append(path, b"a\nb\n")
    assert tail.look() == Appended(b"a\nb\n", False)
    assert tail.look() == NOTHING
    append(path, b"c\n")
    assert tail.look() == Appended(b"c\n", False)


def test_half_a_line_waits_for_its_end(path: Path) -> None:
    tail = Tail(path)
    append(path, b"a\n{")
    assert tail.look() == Appended(b"a\n", False)
    append(path, b"half")
    assert tail.look() == NOTHING
    append(path, b"}\nc")
    assert tail.look() == Appended(b"{half}\n", False)


def test_half_a_line_that_is_taken_back_is_no_other_file(path: Path) -> None:
    # MetricsLog does so where the disk is full.
    tail = Tail(path)
    append(path, b"a\nhalf")
    assert tail.look() == Appended(b"a\n", False)
    os.truncate(path, 2)
    assert tail.look() == NOTHING
    append(path, b"b\n")
    assert tail.look() == Appended(b"b\n", False)


def test_a_file_that_was_cut_is_read_anew(path: Path) -> None:
    tail = Tail(path)
    append(path, b"a\nb\nc\n")
    tail.look()
    os.truncate(path, 4)
    assert tail.look() == Appended(b"a\nb\n", True)


def test_a_file_that_was_cut_and_has_grown_since_is_read_anew(path: Path) -> None:
    tail = Tail(path)
    append(path, b"a\nb\nc\n")
    tail.look()
    os.truncate(path, 4)
    append(path, b"d\ne\nf\n")  # longer than it was
    assert tail.look() == Appended(b"a\nb\nd\ne\nf\n", True)


def test_a_file_that_was_replaced_is_read_anew_even_where_it_is_as_long(path: Path) -> None:
    tail = Tail(path)
    append(path, b"a\nb\n")
    tail.look()
    other = path.with_name("other")
    other.write_bytes(b"a\nc\n")
    other.replace(path)
    assert tail.look() == Appended(b"a\nc\n", True)


def test_a_file_that_was_replaced_by_itself_and_more_has_grown(path: Path) -> None:
    # A run that resumes after its very last row writes the same rows again.
    tail = Tail(path)
    append(path, b"a\nb\n")
    tail.look()
    other = path.with_name("other")
    other.write_bytes(b"a\nb\nc\n")
    other.replace(path)
    assert tail.look() == Appended(b"c\n", False)


def test_a_file_that_is_removed_has_no_lines_any_more(path: Path) -> None:
    tail = Tail(path)
    append(path, b"a\n")
    tail.look()
    path.unlink()
    assert tail.look() == Appended(b"", True)
    assert tail.look() == NOTHING
    append(path, b"b\n")
    assert tail.look() == Appended(b"b\n", False)


def test_an_unchanged_file_is_not_opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tail = Tail(path)
    append(path, b"a\n")
    tail.look()
    monkeypatch.setattr(Path, "open", lambda *args: pytest.fail("it was opened"))
    assert tail.look() == NOTHING


def test_a_file_that_cannot_be_read_is_a_fault_until_it_can(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text("a\n")
    tail = Tail(path)
    with monkeypatch.context() as context:

        def fail(path: Path, *args: object) -> None:
            raise OSError(116, "Stale file handle")

        context.setattr(Path, "open", fail)
        assert tail.look() == Appended(b"", False)
        assert tail.faults == [f"{path.name} cannot be read: Stale file handle"]
    assert (tail.look(), tail.faults) == (Appended(b"a\n", False), [])
