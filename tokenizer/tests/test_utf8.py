"""Bytes are taken for UTF-8 exactly where Python takes them for it."""

import random
from itertools import product

import numpy as np
import pytest

from llm_tokenizer import Tokenizer
from llm_tokenizer.codec import _is_utf8

from .conftest import on_compiled_path

EDGES = (0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF)
LEADS = (0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF)


def is_utf8(content: bytes) -> bool:
    return _is_utf8(np.frombuffer(content, np.uint8))


def python_takes(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_every_sequence_of_edges_is_taken_as_python_takes_it() -> None:
    for sequence in product(EDGES + LEADS, repeat=3):
        for rest in (b"", b"\x80", b"\xbf\x80"):
            content = b"a" * 9 + bytes(sequence) + rest + b"a" * 90
            assert is_utf8(content) == python_takes(content), content


@pytest.mark.parametrize("character", ["é", "あ", "😀"])
def test_a_character_may_be_anywhere_and_may_not_be_cut_anywhere(character: str) -> None:
    utf8 = character.encode()
    for before in range(200):
        content = b"a" * before + utf8 + b"a" * 100
        assert is_utf8(content)
        assert is_utf8(b"a" * before + utf8)
        assert not is_utf8(content[: before + 1] + b"a" * 100)
        assert not is_utf8(content[:before] + utf8[1:] + b"a" * 100)
        assert not is_utf8(content[: before + len(utf8) - 1])


def test_random_bytes_put_into_text_are_found() -> None:
    choose = random.Random(0)
    text = "".join(chr(choose.choice([0x61, 0xE9, 0x3042, 0x1F600])) for _ in range(300)).encode()
    for _ in range(2000):
        content = bytearray(text)
        content[choose.randrange(len(content))] = choose.randrange(256)
        assert is_utf8(bytes(content)) == python_takes(bytes(content))


def test_bytes_have_the_ids_of_their_text(released: Tokenizer) -> None:
    fast = on_compiled_path(released)
    text = "naïve 😀 " * 50
    assert fast.encode_to_array(text.encode()).tolist() == fast.encode_ordinary(text)
    broken = text.encode()[:-3] + b"\xff" + b" end" * 30
    expected = fast.encode_ordinary(broken.decode("utf-8", "replace"))
    assert fast.encode_to_array(broken).tolist() == expected
    assert fast.encode_to_array(bytearray(b"ab")).tolist() == fast.encode_ordinary("ab")
