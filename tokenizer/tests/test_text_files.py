from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_tokenizer import Tokenizer, TokenizerError, text_files


@given(st.text(st.sampled_from("ab'slve \n\u3000é日😀1!"), max_size=60), st.integers(1, 20))
def test_text_read_in_parts_has_the_ids_of_the_whole(
    released: Tokenizer, tmp_path_factory: pytest.TempPathFactory, text: str, part_bytes: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "parts.txt"
    path.write_bytes(text.encode())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_files, "PART_BYTES", part_bytes)
        parts = list(text_files.text_parts(path))
    assert "".join(parts) == text
    ids = [i for part in parts for i in released.encode_ordinary(part)]
    assert ids == released.encode_ordinary(text)


@pytest.mark.parametrize("part_bytes", [1, 2, 3, 100])
@pytest.mark.parametrize(("content", "byte"), [(b"ab\xffc", 2), (b"\xe6\x97a", 0), (b"ab\xe6", 2)])
def test_bytes_that_are_no_text_are_told_by_their_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_bytes: int, content: bytes, byte: int
) -> None:
    monkeypatch.setattr(text_files, "PART_BYTES", part_bytes)
    (tmp_path / "x.txt").write_bytes(content)
    with pytest.raises(TokenizerError, match=f"x.txt must be UTF-8 text: byte {byte} is not"):
        text_files.read_text(tmp_path / "x.txt")


@pytest.mark.parametrize("part_bytes", [1, 2, 3, 4, 100])
@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\xef\xbb\xbf", ""),
        (b"\xef\xbb\xbfHello, \xef\xbb\xbfworld\r\n", "Hello, \ufeffworld\r\n"),
        (b"\xef\xbb\xbf\xef\xbb\xbfHello", "\ufeffHello"),
        (b" \xef\xbb\xbfHello", " \ufeffHello"),
        (b"\n\xef\xbb\xbf", "\n\ufeff"),
    ],
)
def test_a_byte_order_mark_is_dropped_at_the_start_of_a_file_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_bytes: int, content: bytes, text: str
) -> None:
    monkeypatch.setattr(text_files, "PART_BYTES", part_bytes)
    (tmp_path / "x.txt").write_bytes(content)
    assert text_files.read_text(tmp_path / "x.txt") == text


@pytest.mark.parametrize("part_bytes", [1, 2, 3, 100])
@pytest.mark.parametrize(
    ("content", "byte"),
    [(b"\xef\xbb", 0), (b"\xef\xbbab", 0), (b"\xef\xbb\xbfab\xff", 5), (b"\xef\xbb\xbf\xef", 3)],
)
def test_a_damaged_text_after_a_byte_order_mark_is_named_by_its_place_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_bytes: int, content: bytes, byte: int
) -> None:
    monkeypatch.setattr(text_files, "PART_BYTES", part_bytes)
    (tmp_path / "x.txt").write_bytes(content)
    with pytest.raises(TokenizerError, match=f"x.txt must be UTF-8 text: byte {byte} is not"):
        text_files.read_text(tmp_path / "x.txt")


def test_a_byte_order_mark_in_a_string_is_encoded_and_comes_back(released: Tokenizer) -> None:
    assert released.decode(released.encode("\ufeffHello")) == "\ufeffHello"


def test_training_sees_no_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_bytes(b"\xef\xbb\xbfabab")
    (tmp_path / "y.txt").write_bytes(b"abab")
    learned = Tokenizer.train([tmp_path / "x.txt"] * 2, 300)
    assert learned.fingerprint == Tokenizer.train([tmp_path / "y.txt"] * 2, 300).fingerprint


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "tokenizer.json", "x.tiktoken"])
def test_a_vocabulary_loads_from_files_that_begin_with_a_byte_order_mark(
    tmp_path: Path, name: str
) -> None:
    learned = Tokenizer.train(["abab"] * 2, 300)
    path = tmp_path if name in ("vocab.json", "merges.txt") else tmp_path / name
    learned.save(path)
    file = tmp_path / name
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert Tokenizer.load(path).fingerprint == learned.fingerprint
