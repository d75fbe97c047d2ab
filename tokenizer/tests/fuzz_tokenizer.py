"""Compare ids on generated texts with tiktoken's and Hugging Face tokenizers'.

python tokenizer/tests/fuzz_tokenizer.py [--strings 1000000] [--seed 0]
    [--small-caches] [--trained]

Every text goes through the compiled path and both peers, one in ten through the reference path,
too. The first difference is printed and ends the run with exit code 1. Caches of few entries forget
much and soon; a trained vocabulary has merges that GPT-2's has not, and ids of 32 bits.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")

import tiktoken
from tokenizers import ByteLevelBPETokenizer

from llm_tokenizer import Tokenizer, unicode_classes
from llm_tokenizer.reference import Reference
from llm_tokenizer.vocabulary import Vocabulary

# tiktoken's own pattern for GPT-2, so that no vocabulary has to be downloaded.
GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
BATCH = 1000
SPACES = "\t\n\v\f\r \x1c\x1d\x1e\x1f\x85\xa0\u1680\u2000\u2003\u2028\u2029\u202f\u205f\u3000\u200b"
QUOTED = [
    "'s",
    "'S",
    "'t",
    "'ll",
    "'Ll",
    "'ve",
    "'re",
    "'d",
    "'m",
    "'",
    "''",
    "’s",
    " '",
    "'e",
    "'v",
]
CONTROLS = [chr(code) for code in range(0x20) if not chr(code).isspace()]
EDGES = [
    0,
    0x7F,
    0x80,
    0x7FF,
    0x800,
    0xFFF,
    0x1000,
    0xD7FF,
    0xE000,
    0xFFFD,
    0xFFFF,
    0x10000,
    0x10FFFF,
]


class Texts:
    """Random texts that put the borders of the rules next to each other."""

    def __init__(self, tokenizer: Tokenizer, seed: int) -> None:
        self._random = random.Random(seed)
        self._tokens = [token.decode("utf-8", "ignore") for token in tokenizer.token_byte_values()]
        ranges = [r for name in ("letter", "number", "space") for r in unicode_classes.ranges(name)]
        self._edges = EDGES + [
            code for first, last in ranges for code in (first - 1, first, last, last + 1)
        ]
        self._earlier = ["a"]  # parts of earlier texts, so that caches have them
        self._parts: list[Callable[[], str]] = [
            lambda: self._random.choice(self._tokens),
            lambda: self._random.choice(SPACES) * self._random.randint(1, 3),
            lambda: " ",
            lambda: self._random.choice(QUOTED),
            lambda: self._character(self._random.randrange(0x80)),
            lambda: self._character(self._random.choice(self._edges)),
            lambda: self._character(self._random.randrange(0x110000)),
            lambda: self._script(self._random.randint(1, 12)),
            lambda: str(self._random.randrange(10 ** self._random.randint(1, 9))),
            lambda: self._character(self._random.choice(self._edges)) * self._random.randint(1, 90),
            lambda: self._random.choice("ab -=\n.\xc3\u3000") * self._random.randint(1, 300),
            lambda: self._random.choice(CONTROLS) * self._random.randint(1, 40) + " ",
            lambda: "".join(self._random.choices(CONTROLS, k=self._random.randint(7, 17))) + "a",
            lambda: "a" * self._random.randint(0, 130) + self._random.choice(QUOTED),
            lambda: "".join(self._random.choices(SPACES, k=self._random.randint(1, 130))),
            lambda: self._word(self._random.choice((7, 8, 9, 15, 16, 17, 59, 60, 61, 63, 64, 65))),
            self.like_an_entry,
            lambda: self._random.choice(self._earlier),
        ]
        self._rare = [
            lambda: "".join(self._random.choices("etaoinshr", k=self._random.randint(30, 400))),
            lambda: self._script(self._random.randint(30, 200)),
            lambda: self._random.choice("a-= \n\u00c3") * self._random.randint(1000, 6000),
        ]

    def next(self) -> str:
        """Return a text of some parts; one in a hundred has a long piece."""
        parts = self._random.choices(self._parts, k=self._random.randint(1, 12))
        if self._random.random() < 0.01:
            parts.append(self._random.choice(self._rare))
        made = [part() for part in parts]
        self._earlier = [*self._earlier[-1000:], *made]
        return "".join(made)

    def _character(self, code: int) -> str:
        code = min(max(code, 0), 0x10FFFF)
        return chr(code) if not 0xD800 <= code < 0xE000 else "\ufffd"

    def _script(self, length: int) -> str:
        first = self._random.choice(self._edges)
        return "".join(self._character(first + self._random.randrange(64)) for _ in range(length))

    def _word(self, size: int) -> str:
        return " " + "".join(self._random.choices("etaoin", k=size - 1))

    def like_an_entry(self) -> str:
        """Return pieces of which one holds another behind what the caches would put before it."""
        piece = self._random.choice("=-") * self._random.randint(9, 20)
        head = f"{chr(len(piece))}\0\0\0{chr(self._random.randint(0, 8))}\0\0\0"
        inside = self._random.choice("!=-") * self._random.choice((40, 48, 56, 64)) + head + piece
        return "a".join([inside, self._random.choice(self._earlier), piece, ""])


def main() -> None:
    """Run until all texts are compared or one differs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--strings", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small-caches", action="store_true")
    parser.add_argument("--trained", action="store_true")
    options = parser.parse_args()
    if options.small_caches:
        _make_caches_small()
    tokenizer = Tokenizer.gpt2()
    if options.trained:
        tokenizer = _trained(Texts(tokenizer, options.seed + 1))
    tokenizer.encode_to_array("a" * 2**20)  # from here on the compiled path
    reference = Reference(tokenizer.vocabulary)
    peers = _peers(tokenizer)
    texts = Texts(tokenizer, options.seed)
    done, characters, start = 0, 0, time.monotonic()
    while done < options.strings:
        batch = [texts.next() for _ in range(min(BATCH, options.strings - done))]
        ids, offsets = tokenizer.encode_documents(batch)
        found = {"compiled": [ids[a:b].tolist() for a, b in pairwise(offsets)]}
        found |= {name: encode(batch) for name, encode in peers.items()}
        found["reference"] = [
            reference.encode(text) if k % 10 == 0 else expected
            for k, (text, expected) in enumerate(zip(batch, found["tiktoken"], strict=True))
        ]
        for name, answer in found.items():
            if answer != found["tiktoken"]:
                k = next(k for k in range(len(batch)) if answer[k] != found["tiktoken"][k])
                print(f"{name} differs from tiktoken on {batch[k]!r}:")
                print(answer[k], found["tiktoken"][k], sep="\n")
                sys.exit(1)
        for text, expected in zip(batch, found["compiled"], strict=True):
            if tokenizer.decode_bytes(expected) != text.encode():
                sys.exit(f"{text!r} does not come back from its ids")
        done, characters = done + len(batch), characters + sum(map(len, batch))
        rate = done / (time.monotonic() - start)
        print(
            f"\r{done:,} texts, {characters:,} characters, {rate:,.0f} texts/s", end="", flush=True
        )
    print("\nno difference")


def _make_caches_small() -> None:
    os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp()  # not the code for caches of full size
    from llm_tokenizer.compiled import layouts

    layouts.NEAR_BITS, layouts.FAR_BITS = 3, 1


def _trained(texts: Texts) -> Tokenizer:
    """Return a tokenizer with merges learned from random texts, and ids beyond 16 bits."""
    learned = Tokenizer.train([texts.next() for _ in range(20_000)], 8000).vocabulary
    ids = {token: 70_000 + i for token, i in learned.token_ids.items()}
    return Tokenizer(Vocabulary(ids, learned.merges, {}))


def _peers(tokenizer: Tokenizer) -> dict[str, Callable[[list[str]], list[list[int]]]]:
    encoding = tiktoken.Encoding(
        "gpt2",
        pat_str=GPT2_PATTERN,
        mergeable_ranks=dict(tokenizer.vocabulary.token_ids),
        special_tokens=dict(tokenizer.vocabulary.special_tokens),
    )
    with tempfile.TemporaryDirectory() as directory:
        tokenizer.save(directory)
        hugging_face = ByteLevelBPETokenizer(f"{directory}/vocab.json", f"{directory}/merges.txt")
    return {
        "tiktoken": lambda batch: [encoding.encode_ordinary(text) for text in batch],
        "tokenizers": lambda batch: [found.ids for found in hugging_face.encode_batch(batch)],
    }


if __name__ == "__main__":
    main()
