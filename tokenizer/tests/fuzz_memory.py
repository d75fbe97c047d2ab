"""Run the compiled path under `emulation`: every access checked, every answer the reference's.

python tokenizer/tests/fuzz_memory.py [--texts 1000] [--seed 0] [--cache-bits 2]

The first access that is out of bounds, or answer that differs, ends the run with exit code 1.
"""

import argparse
import random
import string
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

import checked_calls
import emulation
import numpy as np
from fuzz_tokenizer import Texts

from llm_tokenizer import Tokenizer
from llm_tokenizer.counting import learn_by_counting
from llm_tokenizer.reference import Reference
from llm_tokenizer.splitter import split
from llm_tokenizer.vocabulary import Vocabulary

UNITS = ["a", "it's ", "日本 ", "x\u3000", " \n ", "é", "1", "😀", "-= ", "\0", "' ", "'ll", "\xa0"]
UNITS += ["a1", "!a1", "é1"]  # a piece each byte, or each character: as many as a block can have


def main() -> None:
    """Check some texts of each kind with each vocabulary, then the counting of pieces."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--texts", type=int, default=1000, help="of each kind, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cache-bits", type=int, default=2, help="log2 of the caches' sets")
    options = parser.parse_args()
    checked_calls.install(near_bits=options.cache_bits, far_bits=options.cache_bits)
    start, chance = time.monotonic(), random.Random(options.seed)
    released = Tokenizer.gpt2()
    fuzz = Texts(released, options.seed)
    kinds = [make() for make in _kinds(chance, fuzz)]
    for name, vocabulary in _vocabularies(released.vocabulary, chance).items():
        check = Check(vocabulary)
        for texts in kinds:
            check.documents([next(texts) for _ in range(options.texts)])
        print(f"{name}: right, {emulation.MEMORY.accesses:,} accesses", flush=True)
    check_gave_up()
    check_counts([fuzz.next() for _ in range(options.texts)])
    for _ in range(options.texts):
        check_learning(chance)
    print("merges learned: right")
    print(f"nothing out of bounds, nothing wrong, in {time.monotonic() - start:.0f} s")


class Check:
    """Encodes, decodes and compares, for one vocabulary."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        from llm_tokenizer.codec import Codec

        self.given_up: list[bytes] = []  # pieces that the compiled path left to the reference
        self._reference = Reference(vocabulary)
        self._codec = Codec(vocabulary, self._encode_given_up)
        self._opener = vocabulary.largest_id

    def documents(self, texts: list[str]) -> None:
        """Check texts one by one, then several at a time, with an id put before each."""
        expected = [self._reference.encode(text) for text in texts]
        for text, ids in zip(texts, expected, strict=True):
            assert self._codec.encode_to_list(text) == ids, text
            assert self._codec.decode(ids) == text.encode(), text
        for first in range(0, len(texts), 7):
            self._check_together(texts[first : first + 7], expected[first : first + 7])

    def _encode_given_up(self, piece: bytes) -> list[int]:
        self.given_up.append(piece)
        return self._reference.encode_piece(piece)

    def _check_together(self, texts: list[str], expected: list[list[int]]) -> None:
        utf8 = [text.encode() for text in texts]
        content = np.frombuffer(b"".join(utf8), np.uint8)
        bounds = np.cumsum([0, *map(len, utf8)])
        ids, ends = self._codec.encode_documents(content, bounds, 1, self._opener)
        found = [ids[a:b].tolist() for a, b in pairwise(ends)]
        assert found == [[self._opener, *each] for each in expected], texts


def _kinds(chance: random.Random, fuzz: Texts) -> list[Callable[[], Iterator[str]]]:
    """Return what gives endless texts, kind by kind."""

    def of_units() -> Iterator[str]:
        while True:
            unit, length = chance.choice(UNITS), chance.randint(0, 200)
            yield (unit * length)[:length] + chance.choice(["", " ", "é", "😀", "'", "'l"])

    def of_any_size() -> Iterator[str]:
        while True:
            letters = chance.choice(["a", "=", "etaoin", "\0\1\2", "é", "日本語", " \n", "0123"])
            sizes = [chance.randint(1, 200) for _ in range(chance.randint(1, 3))]
            if chance.random() < 0.01:
                sizes.append(chance.randint(2000, 5000))
            yield chance.choice(["'", "!", "b", " "]).join(
                "".join(chance.choices(letters, k=size)) for size in sizes
            )

    def of_fuzz() -> Iterator[str]:
        while True:
            yield fuzz.next()

    def of_the_same() -> Iterator[str]:
        pieces = [p for text, _ in zip(of_fuzz(), range(4), strict=False) for p in split(text)]
        pieces += ["\0" * n for n in range(1, 41)]
        while True:
            yield "a\n".join(chance.choices(pieces, k=chance.randint(1, 8)))

    def of_entries() -> Iterator[str]:
        while True:
            yield "".join(fuzz.like_an_entry() for _ in range(4))

    return [of_units, of_any_size, of_fuzz, of_the_same, of_entries]


def _vocabularies(released: Vocabulary, chance: random.Random) -> dict[str, Vocabulary]:
    """Return vocabularies: of no merge to hundreds, of 16 and 32 bits, in orders of any kind."""
    first = {n: Vocabulary.from_merges(released.merges[:n]) for n in (0, 1, 60, 300)}
    wide = {token: 2**21 - 2 - i for token, i in first[300].token_ids.items()}
    shuffled = list(first[60].merges)
    chance.shuffle(shuffled)
    runs = [(byte * n, byte * n) for byte in (b"=", b"-", b"!", b"\0") for n in (1, 2, 4, 8, 16)]
    specials = [f"<|{k}|>" for k in range(300)]
    return {f"{n} merges": vocabulary for n, vocabulary in first.items()} | {
        "ids of 32 bits, up to the last": Vocabulary(wide, released.merges[:300], {}),
        "merges of runs": Vocabulary.from_merges(runs),
        "merges shuffled": Vocabulary.from_merges(shuffled, specials),
        "merges given twice": Vocabulary.from_merges([*shuffled, *shuffled[::-1]]),
    }


def check_gave_up() -> None:
    """Check pieces whose encoding depends on their far end, so that no window is large enough."""
    # All pairs of letters once each (a sequence of de Bruijn), of which each merges before the one
    # to its left.
    each = string.ascii_letters
    path = "".join(a + "".join(a + b for b in each[k + 1 :]) for k, a in enumerate(each)).encode()
    pairs = [(bytes([left]), bytes([right])) for left, right in pairwise(path)]
    check = Check(Vocabulary.from_merges(pairs[::-1]))
    text = path.decode()
    check.documents(["", text[:-1] + "'s b", "c"])
    assert check.given_up
    print("pieces that no window holds: right")


def check_counts(texts: list[str]) -> None:
    """Check the counts of pieces, in tables that begin small and so must grow."""
    from llm_tokenizer import piece_counter

    counter = piece_counter.PieceCounter()
    counter._table = emulation.MEMORY.note(np.zeros(2**3, np.uint64))
    counter._store = emulation.MEMORY.note(np.zeros(2**6, np.uint8))
    for text in texts:
        counter.add(text)
    content, bounds, frequencies = counter.pieces()
    found = {
        bytes(content[a:b]): int(n) for (a, b), n in zip(pairwise(bounds), frequencies, strict=True)
    }
    expected = Counter(piece.encode() for text in texts for piece in split(text))
    assert found == expected
    print(f"counts of {len(found):,} pieces: right")


def check_learning(chance: random.Random) -> None:
    """Check the merges that are learned of a few pieces, in tables that must grow."""
    from llm_tokenizer import learner

    learner.BYTE_PAIRS = 2**4
    pieces = {
        bytes(chance.choices(b"abcd", k=chance.randint(1, 40))): chance.randint(1, 5)
        for _ in range(chance.randint(1, 8))
    }
    content = np.frombuffer(b"".join(pieces), np.uint8)
    bounds = np.cumsum([0, *map(len, pieces)])
    frequencies = np.array(list(pieces.values()))
    room, least = chance.randint(1, 200), chance.randint(1, 2)
    with np.errstate(over="ignore"):  # of a hash
        found = list(learner.learn(content, bounds, frequencies, room, least))
    assert found == learn_by_counting(pieces, room, least), pieces


if __name__ == "__main__":
    try:
        main()
    except (emulation.AccessError, AssertionError) as error:
        print(f"wrong: {error!r}")
        sys.exit(1)
