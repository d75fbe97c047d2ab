"""The compiled path where it does something of its own: caches, windows, threads, wide ids."""

import copy
import os
import pickle
import random
import shutil
import string
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFaceTokenizer

from llm_tokenizer import Tokenizer
from llm_tokenizer.compiled import layouts
from llm_tokenizer.merging import Merge, merge
from llm_tokenizer.vocabulary import Vocabulary

from .conftest import on_compiled_path, on_reference_path

LICENSE = (Path(__file__).parents[1] / "LICENSE").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def fast(released: Tokenizer) -> Tokenizer:
    return on_compiled_path(released)


@pytest.fixture(scope="module")
def slow(released: Tokenizer) -> Tokenizer:
    return on_reference_path(released)


def letters(count: int, seed: int = 0) -> str:
    return "".join(random.Random(seed).choices(string.ascii_letters, k=count))


@pytest.mark.parametrize(
    "text",
    [
        *(unit * (5000 // len(unit)) for unit in ("a", " ", "-", "=", "1", "\n", "ab", "é", "日")),
        *(unit * (5000 // len(unit)) for unit in ("ÃÂ", "\u3000", "😀", "'s", "' ", " \n", "a ")),
        letters(20_000),
        "".join(random.Random(1).choices("etaoin", k=20_000)),
        "".join(map(chr, random.Random(2).choices(range(0x4E00, 0x9FFF), k=5000))),
        "".join(map(chr, random.Random(3).choices(range(0xAC00, 0xD7A3), k=5000))),
    ],
)
def test_pieces_longer_than_any_window_have_tiktokens_ids(
    fast: Tokenizer, tiktoken_gpt2: tiktoken.Encoding, text: str
) -> None:
    assert fast.encode_ordinary(text) == tiktoken_gpt2.encode_ordinary(text)


@pytest.mark.parametrize("end", ["", "\n", " ", "é", "😀", "'", "'l"])
def test_texts_of_every_length_around_a_block_have_the_references_ids(
    fast: Tokenizer, slow: Tokenizer, end: str
) -> None:
    for unit in ("a", "it's ", "日本 ", "x\u3000", " \n "):
        for length in range(150):
            text = (unit * length)[:length] + end
            assert fast.encode_ordinary(text) == slow.encode_ordinary(text), text


@settings(max_examples=200)
@given(st.text(st.sampled_from("ab'slve \n\u3000é日1!\u0301"), max_size=200))
def test_the_borders_of_the_rule_are_the_references(
    fast: Tokenizer, slow: Tokenizer, text: str
) -> None:
    assert fast.encode_ordinary(text) == slow.encode_ordinary(text)


def test_an_encoding_that_depends_on_the_far_end_of_a_piece_is_still_exact() -> None:
    # A path over all pairs of letters, in which each pair merges before the one to its left: which
    # letters pair up is decided at the right end, so that no window sees it.
    path = list(_through_all_pairs(string.ascii_letters.encode()))
    pairs = [(bytes([left]), bytes([right])) for left, right in pairwise(path)]
    assert len(set(pairs)) == len(pairs) == 52**2
    vocabulary = Vocabulary.from_merges(pairs[::-1])
    ids = vocabulary.token_ids
    merges = {
        (ids[left], ids[right]): Merge(rank, ids[left + right])
        for rank, (left, right) in enumerate(vocabulary.merges)
    }
    fast = on_compiled_path(Tokenizer(vocabulary))
    for text in (bytes(path), bytes(path[:-1])):
        piece = [ids[bytes([byte])] for byte in text]
        assert fast.encode_ordinary(text.decode()) == merge(piece, merges)
        ids_of_two, offsets = fast.encode_documents([text.decode() + " b", "c"])
        assert ids_of_two.tolist() == [*merge(piece, merges), ids[b" "], ids[b"b"], ids[b"c"]]
        assert offsets.tolist() == [0, len(ids_of_two) - 1, len(ids_of_two)]


def _through_all_pairs(symbols: bytes) -> Iterator[int]:
    """Return a sequence in which each symbol follows each other, and itself, once (Hierholzer)."""
    waiting = {symbol: list(symbols) for symbol in symbols}
    path, circuit = [symbols[0]], []
    while path:
        if waiting[path[-1]]:
            path.append(waiting[path[-1]].pop())
        else:
            circuit.append(path.pop())
    return iter(circuit)


def test_a_full_cache_forgets_pieces_and_stays_right(
    released: Tokenizer, tiktoken_gpt2: tiktoken.Encoding
) -> None:
    # Distinct pieces of more than 15 bytes, more of them than the far cache has room for.
    number = 2 * 2**layouts.FAR_BITS + 20_000
    source = letters(number + 20)
    text = " ".join(source[k : k + 20] for k in range(number))
    fast = on_compiled_path(released)
    expected = tiktoken_gpt2.encode_ordinary(text)
    for _ in range(2):
        assert fast.encode_ordinary(text) == expected


def test_a_cache_hit_needs_every_byte_to_be_equal(
    fast: Tokenizer, tiktoken_gpt2: tiktoken.Encoding
) -> None:
    for length in (1, 7, 8, 9, 15, 16, 17, 31, 64, 255, 256):
        texts = [letters(length, seed) for seed in range(40)]
        texts += [text[:-1] + "q" for text in texts] + [text[:-1] for text in texts]
        text = " ".join(texts * 2)
        assert fast.encode_ordinary(text) == tiktoken_gpt2.encode_ordinary(text)


def test_many_threads_may_encode_and_decode_at_once(
    released: Tokenizer, tiktoken_gpt2: tiktoken.Encoding
) -> None:
    fast = on_compiled_path(released)
    texts = [letters(3000, seed) + LICENSE[seed * 100 :] for seed in range(40)]
    expected = [tiktoken_gpt2.encode_ordinary(text) for text in texts]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(fast.encode_ordinary, texts * 3)) == expected * 3
        assert list(threads.map(fast.decode, expected * 3)) == texts * 3
    assert fast.encode_ordinary_batch(texts, num_threads=3) == expected


def test_threads_may_be_the_first_to_use_the_compiled_path() -> None:
    code = (
        "from concurrent.futures import ThreadPoolExecutor;"
        "from llm_tokenizer import Tokenizer; t = Tokenizer.gpt2();"
        "texts = ['hello world, it\\'s 12 ' * 5000] * 60;"
        "ids = list(ThreadPoolExecutor(16).map(t.encode, texts));"
        "print(len({tuple(i) for i in ids}))"
    )
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "1\n")


def test_ids_beyond_16_bits_are_held_in_32(tmp_path: Path) -> None:
    trained = Tokenizer.train([LICENSE], 700).vocabulary
    moved = Vocabulary(
        {token: i + 70_000 for token, i in trained.token_ids.items()}, trained.merges, {}
    )
    fast, slow = on_compiled_path(Tokenizer(moved)), on_reference_path(Tokenizer(moved))
    ids = fast.encode_to_array(LICENSE)
    assert ids.dtype == np.uint32
    assert ids.tolist() == slow.encode_ordinary(LICENSE)
    assert fast.decode(ids) == LICENSE


def test_ids_too_large_for_the_compiled_path_take_the_reference_path() -> None:
    token_ids = {bytes([byte]): 2**32 - 256 + byte for byte in range(256)}
    tokenizer = Tokenizer(Vocabulary(token_ids, [], {}))
    assert tokenizer.encode_to_array("a" * 2**20)[0] == 2**32 - 256 + ord("a")
    assert tokenizer.decode([2**32 - 256 + ord("a")]) == "a"


@pytest.mark.parametrize("seed", range(4))
def test_any_merges_give_the_ids_of_hugging_face(tmp_path: Path, seed: int) -> None:
    # Merges in an order that no training would find, some of which make a token that is there.
    chance = random.Random(seed)
    tokens, merges = [bytes([c]) for c in b"abcd"], []
    while len(merges) < 60:
        pair = (chance.choice(tokens), chance.choice(tokens))
        if pair not in merges and len(pair[0] + pair[1]) <= 6:
            merges.append(pair)
            tokens.append(pair[0] + pair[1])
    chance.shuffle(merges)
    vocabulary = Vocabulary.from_merges(merges)
    tokenizer = Tokenizer(vocabulary)
    tokenizer.save(tmp_path / "tokenizer.json")
    theirs = HuggingFaceTokenizer.from_file(str(tmp_path / "tokenizer.json"))
    fast, slow = on_compiled_path(tokenizer), on_reference_path(tokenizer)
    for length in (*range(1, 80), 500, 5000):
        text = "".join(chance.choices("abcd", k=length))
        expected = theirs.encode(text).ids
        assert slow.encode_ordinary(text) == expected
        assert fast.encode_ordinary(text) == expected


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_a_copy_encodes_on_its_own(
    released: Tokenizer, how: Callable[[Tokenizer], Tokenizer]
) -> None:
    original = on_compiled_path(released)
    copied = how(original)
    assert copied._paths.codec is not original._paths.codec
    assert copied.fingerprint == original.fingerprint
    assert copied.encode_ordinary(LICENSE) == original.encode_ordinary(LICENSE)


GUARDED = """
import ctypes, mmap, random
import numpy as np
from llm_tokenizer import Tokenizer
from llm_tokenizer.piece_counter import PieceCounter
from llm_tokenizer import piece_counter

page = mmap.PAGESIZE
memory = mmap.mmap(-1, 3 * page)
base = np.frombuffer(memory, np.uint8).ctypes.data
assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(base + 2 * page), page, 0) == 0
tokenizer = Tokenizer.gpt2()
tokenizer.encode_to_array(" " * 2**20)
chance = random.Random(0)
for k in range(600):
    unit = chance.choice(["a", "it's ", "日本", "é", "1", "\\u3000", "😀", "-= ", " \\n"])
    text = (unit * 300)[: chance.randint(1, 300)]
    utf8 = text.encode()
    memory[2 * page - len(utf8) : 2 * page] = utf8
    at_the_end = np.frombuffer(memory, np.uint8)[2 * page - len(utf8) : 2 * page]
    ids, _ = tokenizer._paths.codec.encode_documents(at_the_end, np.array([0, len(utf8)]), 1)
    assert ids.tolist() == tokenizer._paths.reference.encode(text), text
    piece_counter.utf8_address = lambda text: (text, base + 2 * page - len(utf8), len(utf8))
    PieceCounter().add(text)
print("right")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no mprotect")
def test_nothing_behind_a_text_is_read() -> None:
    done = subprocess.run([sys.executable, "-c", GUARDED], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "right\n", "")


def test_where_numba_cannot_keep_what_it_compiled_everything_still_works(tmp_path: Path) -> None:
    package, moved = Path(layouts.__file__).parents[1], tmp_path / "llm_tokenizer"
    shutil.copytree(package, moved, ignore=shutil.ignore_patterns("__pycache__"))
    (moved / "compiled" / "__pycache__").write_text("no folder")
    (tmp_path / "home").write_text("no folder")
    code = (
        "import llm_tokenizer; from llm_tokenizer.piece_counter import PieceCounter;"
        f"assert llm_tokenizer.__file__.startswith({str(tmp_path)!r});"
        "pieces = PieceCounter(); pieces.add('a b'); print(len(pieces.pieces()[2]));"
        "print(len(llm_tokenizer.Tokenizer.gpt2().encode_to_array('a b ' * 2**18)))"
    )
    nowhere = str(tmp_path / "home" / "cache")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "HOME": nowhere}
    environment |= {"XDG_CACHE_HOME": nowhere, "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"2\n{2**19 + 1}\n"
    assert not list(moved.rglob("*.nbi"))
