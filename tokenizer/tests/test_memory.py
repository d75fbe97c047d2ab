"""What compiled functions read and write is theirs; `emulation` checks each access."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from llm_tokenizer import Tokenizer
from llm_tokenizer.compiled import kernels, memory
from llm_tokenizer.compiled.layouts import MIX_1
from llm_tokenizer.vocabulary import Vocabulary

from .conftest import on_compiled_path, on_reference_path
from .emulation import MEMORY, AccessError, Word, instructions

HERE = Path(__file__).parent
EMULATED = instructions()


def test_every_access_lies_in_an_array_and_every_answer_is_the_references() -> None:
    command = [sys.executable, str(HERE / "fuzz_memory.py"), "--texts", "2", "--cache-bits", "1"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.splitlines()[-1].startswith("nothing out of bounds, nothing wrong")


def access(name: str, place: int, *rest: int) -> None:
    """Run an emulated instruction at a place of 16 bytes that are read-only."""
    array = np.zeros(16, np.uint8)
    with MEMORY.allowing(("text", array.ctypes.data, 16, False)):
        getattr(EMULATED, name)(array.ctypes.data + place, *rest)


@pytest.mark.parametrize(
    ("name", "place", "rest", "message"),
    [
        ("load_word", 9, (), "reads 8 bytes at 9 of text, which has 16"),
        ("load_word", 16, (), "reads 8 bytes at 16 of text, which has 16"),
        ("load_word", -1, (), "reads 8 bytes before all arrays"),
        ("store_word", 0, (1,), "writes 8 bytes of text, which is read-only"),
        ("get32", 2, (0,), "reads 4 bytes at 2 of text, which is not aligned"),
        ("get64", 0, (2,), "reads 8 bytes at 16 of text, which has 16"),
        ("blanks", 0, (), "reads 64 bytes at 0 of text, which has 16"),
    ],
)
def test_an_access_out_of_bounds_is_seen(
    name: str, place: int, rest: tuple[int, ...], message: str
) -> None:
    with pytest.raises(AccessError, match=message):
        access(name, place, *rest)


def test_what_llvm_leaves_undefined_is_seen() -> None:
    with pytest.raises(AccessError, match="a shift by 64"):
        Word(1) << Word(64)
    with pytest.raises(AccessError, match="a float to Numba"):
        Word(1) + 1
    with pytest.raises(AccessError, match="leading_zeros of 0"):
        EMULATED.leading_zeros(Word(0))


def in_one_bucket(count: int) -> Vocabulary:
    """Return a vocabulary whose merges, of two bytes each, are all in one bucket of 16."""
    wanted = []
    for pair in range(2**16):
        left, right = pair >> 8, pair & 255
        if (left << 21 | right) * int(MIX_1) % 2**64 < 2**60 and left != right:
            wanted.append((bytes([left]), bytes([right])))
    merges = wanted[:: len(wanted) // count][:count]
    token_ids = {bytes([byte]): byte for byte in range(256)}
    token_ids |= {left + right: 256 + k for k, (left, right) in enumerate(merges)}
    return Vocabulary(token_ids, merges, {})


def test_where_no_displacement_fits_a_bucket_the_table_grows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    placed, fill_slots = [], kernels.fill_slots

    def noted(*args: object) -> bool:
        placed.append(fill_slots(*args))
        return bool(placed[-1])

    monkeypatch.setattr(memory.kernels, "fill_slots", noted)
    tokenizer = Tokenizer(in_one_bucket(47))
    fast, slow = on_compiled_path(tokenizer), on_reference_path(tokenizer)
    assert placed == [False, True]
    text = bytes(range(128)).decode() * 20 + "".join(map(chr, range(128, 0x250)))
    for size in (1, 30, 60, 61, len(text)):
        assert fast.encode_ordinary(text[:size]) == slow.encode_ordinary(text[:size])
    for left, right in tokenizer.vocabulary.merges:
        if max(left + right) < 128:
            pair = (left + right).decode()
            assert fast.encode_ordinary(pair) == slow.encode_ordinary(pair)
