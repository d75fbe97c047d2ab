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
