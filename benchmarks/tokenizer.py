"""Encoding, decoding and training beside the fastest peers, in one run.

python benchmarks/tokenizer.py [FILE ...] [--rounds 5] [--train]

Without files, the texts are those that every machine with the extra `bench` has: Python's
documentation (English), its source (code), and Django's translations (many scripts), 4 MB of each.
Warm is a text encoded five times in a row, cold the first text of a new tokenizer. All run on one
thread, but for training, where the peers use all cores. quicktok is left out, as it cannot take
GPT-2's vocabulary. What ends with "flat" or "numpy" or "array" returns numbers without making a
Python object of each, what else makes a list.
"""

import argparse
import os
import re
import statistics
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import riptoken
import rustbpe
import snaptokens
import splintr
import tiktoken
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from gpt2.prepare.stdlib_docs import stdlib_docs
from llm_tokenizer import Tokenizer

IN_A_ROW = 5
TEXT_BYTES, TRAINING_BYTES, TRAINED_VOCABULARY = 4_000_000, 50_000_000, 32_000
SPLIT = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# tiktoken's own pattern for GPT-2, so that no vocabulary has to be downloaded.
TIKTOKEN_SPLIT = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"


@dataclass
class Peer:
    """A package that encodes as GPT-2 does."""

    package: str
    call: str
    make: Callable[[], Any]
    encode: Callable[[Any, str], Any]
    ids: Callable[[Any], list[int]] = list  # what `encode` returned, as a list


def main() -> None:
    """Print a table for each of encoding, decoding and, if asked for, training."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, help="texts, in place of the usual three")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--train", action="store_true", help="train, too: a minute or two")
    options = parser.parse_args()
    texts = {path.name: read(path) for path in options.files} or usual_texts()
    with tempfile.TemporaryDirectory() as directory:
        Tokenizer.gpt2().save(Path(directory) / "tokenizer.json")
        peers = all_peers(Path(directory) / "tokenizer.json")
        compare_encoding(texts, peers, options.rounds)
        compare_decoding(next(iter(texts.values())), peers, options.rounds)
    if options.train:
        compare_training(options.rounds)


def all_peers(tokenizer_json: Path) -> list[Peer]:
    """Return ours, then the others, each with our copy of the vocabulary."""
    gpt2 = Tokenizer.gpt2()
    ranks, specials = dict(gpt2.vocabulary.token_ids), dict(gpt2.vocabulary.special_tokens)
    return [
        Peer(
            "gpt2-from-scratch",
            "encode_to_array",
            Tokenizer.gpt2,
            lambda tokenizer, text: tokenizer.encode_to_array(text),
            lambda array: array.tolist(),
        ),
        Peer(
            "snaptokens",
            "encode_batch_flat",
            lambda: snaptokens.Tokenizer.from_file(str(tokenizer_json)),
            lambda tokenizer, text: tokenizer.encode_batch_flat([text]),
            lambda flat: memoryview(flat[0]).cast("I").tolist(),
        ),
        Peer(
            "snaptokens",
            "encode",
            lambda: snaptokens.Tokenizer.from_file(str(tokenizer_json)),
            lambda tokenizer, text: tokenizer.encode(text).ids,
        ),
        Peer(
            "splintr-rs",
            "encode",
            lambda: splintr.from_json(str(tokenizer_json)),
            lambda tokenizer, text: tokenizer.encode(text),
        ),
        Peer(
            "riptoken",
            "encode_ordinary",
            lambda: riptoken.CoreBPE(ranks, specials, TIKTOKEN_SPLIT),
            lambda tokenizer, text: tokenizer.encode_ordinary(text),
        ),
        Peer(
            "tiktoken",
            "encode_to_numpy",
            lambda: tiktoken.Encoding(
                "gpt2",
                pat_str=TIKTOKEN_SPLIT,
                mergeable_ranks=ranks,
                special_tokens=specials,
            ),
            lambda tokenizer, text: tokenizer.encode_to_numpy(text, disallowed_special=()),
        ),
        Peer(
            "tokenizers",
            "encode",
            lambda: tokenizers.Tokenizer.from_file(str(tokenizer_json)),
            lambda tokenizer, text: tokenizer.encode(text, add_special_tokens=False).ids,
        ),
    ]


def compare_encoding(texts: dict[str, str], peers: list[Peer], rounds: int) -> None:
    """Print MB/s of each peer on each text, warm and cold, medians over rounds in turn."""
    made = [peer.make() for peer in peers]
    peers[0].encode(made[0], "a" * 2**20)  # which loads the compiled path
    table = [["encoding, MB/s warm / cold", *texts]]
    table += [[f"{peer.package} {version(peer.package)} {peer.call}"] for peer in peers]
    for text in texts.values():
        megabytes = len(text.encode()) / 1e6
        expected = peers[0].ids(peers[0].encode(made[0], text))
        for peer, tokenizer in zip(peers, made, strict=True):
            if peer.ids(peer.encode(tokenizer, text)) != expected:
                sys.exit(f"the ids of {peer.package} differ")
        warm: list[list[float]] = [[] for _ in peers]
        cold: list[list[float]] = [[] for _ in peers]
        for number in range(rounds):
            for k, peer in enumerate(peers):
                if peer.package == "tokenizers" and number > 0:
                    continue  # seconds each
                peer.encode(made[k], text)  # so that what ran before does not hold the caches
                for _ in range(IN_A_ROW):
                    warm[k].append(megabytes / seconds(partial(peer.encode, made[k], text)))
                cold[k].append(megabytes / seconds(partial(peer.encode, peer.make(), text)))
        for row, fast, slow in zip(table[1:], warm, cold, strict=True):
            row.append(f"{statistics.median(fast):.0f} / {statistics.median(slow):.0f}")
    print_table(table)


def compare_decoding(text: str, peers: list[Peer], rounds: int) -> None:
    """Print the milliseconds that decoding a list, and an array, of ids takes."""
    gpt2 = Tokenizer.gpt2()
    array = gpt2.encode_to_array(text)
    ids = array.tolist()
    encoding = next(peer for peer in peers if peer.package == "tiktoken").make()
    calls = {
        "gpt2-from-scratch, list": lambda: gpt2.decode_bytes(ids),
        "gpt2-from-scratch, array": lambda: gpt2.decode_bytes(array),
        "tiktoken, list": lambda: encoding.decode_bytes(ids),
    }
    if len({call() for call in calls.values()}) != 1:
        sys.exit("the bytes differ")
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(1e3 * seconds(call))
    rows = [[name, f"{statistics.median(found):.1f}"] for name, found in times.items()]
    print_table([[f"decoding {len(ids):,} ids", "ms"], *rows])


def compare_training(rounds: int) -> None:
    """Print the seconds that learning a vocabulary of 32,000 from 50 MB takes."""
    texts, size = [], 0
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).rglob("*.py")):
        texts.append(path.read_text(encoding="utf-8", errors="replace"))
        size += len(texts[-1].encode())
        if size >= TRAINING_BYTES:
            break

    def hugging_face() -> None:
        tokenizer = tokenizers.Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=TRAINED_VOCABULARY - 1,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            min_frequency=2,
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)

    calls: dict[str, Callable[[], object]] = {
        f"gpt2-from-scratch {version('gpt2-from-scratch')}": lambda: Tokenizer.train(
            texts, TRAINED_VOCABULARY
        ),
        f"rustbpe {version('rustbpe')}": lambda: rustbpe.Tokenizer().train_from_iterator(
            iter(texts), TRAINED_VOCABULARY - 1, pattern=SPLIT
        ),
        f"tokenizers {version('tokenizers')}": hugging_face,
    }
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    next(iter(calls.values()))()  # which loads the compiled path
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(min(rounds, 3)):
        for name, call in calls.items():
            times[name].append(seconds(call))
    rows = [[name, f"{statistics.median(found):.2f}"] for name, found in times.items()]
    print_table([[f"training on {size / 1e6:.0f} MB to {TRAINED_VOCABULARY:,} tokens", "s"], *rows])


def usual_texts() -> dict[str, str]:
    """Return some 4 MB of each kind of text."""
    source = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    return {
        "English": cut(iter(stdlib_docs())),
        "Python": cut(read(path) for path in source),
        "many scripts": cut(translations()),
    }


def translations() -> Iterator[str]:
    """Give the texts of Django's translations, language by language."""
    root = Path(str(distribution("django").locate_file("django")))
    for path in sorted(root.rglob("*.po")):
        if path.parts[-3] != "en":
            yield "\n".join(re.findall(r'(?m)^msgstr(?:\[\d\])? "(.+)"$', read(path)))


def cut(texts: Iterator[str]) -> str:
    """Return texts one after the other, up to TEXT_BYTES of them."""
    parts, size = [], 0
    for text in texts:
        parts.append(text)
        size += len(text.encode())
        if size >= TEXT_BYTES:
            break
    return "".join(parts)


def read(path: Path) -> str:
    """Return a file's text, its line ends as they are."""
    return path.read_bytes().decode("utf-8", "replace")


def seconds(call: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def print_table(rows: list[list[str]]) -> None:
    """Print rows as a table of Markdown, the first as its head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows = [rows[0], ["-" * width for width in widths], *rows[1:]]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(f"| {' | '.join(cells)} |")
    print(flush=True)


if __name__ == "__main__":
    main()
