"""Encoding and decoding on one thread beside the fastest peers, in one run.

python benchmarks/tokenizer.py [FILE ...] [--texts english,mixed] [--rounds 5]

Without files, the texts are those of `tokenizer_texts.py`: up to 4 MB each of English, code and
many scripts, 60 MB of Python sources, 1 GB of mixed text, which needs 15 GB of memory. The ids of
all peers must be equal. Decoding and short texts use the first megabytes of the first text.

Warm is a text that the same tokenizer has just encoded. Cold is the first text of a new tokenizer,
except for one short sentence: so all have loaded their code and made their tables, but the caches
that fill while they encode are empty. Each text is at hand as a `str` whose UTF-8 Python has made
already, and as `bytes` for the peer that reads these; the time to free the ids counts. What ends
with "list" makes a Python object of each id.

Each figure is a median over rounds, in which all take turns. A ratio is the median over rounds of
our speed by that of the fastest peer, by its median. Fast peers encode a small text several times a
round. Slow ones take part in two rounds, and leave out texts above 10 MB. A text above 100 MB has
three rounds at most.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

import numpy as np
from llvmlite import binding
from numba.core import config
from tokenizer_peers import LARGE, OURS, SLOW, Peer, for_long_texts, for_short_texts, makers
from tokenizer_tables import in_turn, ours_by_fastest, print_table, seconds
from tokenizer_texts import TEXTS
from tokenizer_texts import joined as text_of

from llm_tokenizer import Tokenizer

Text = dict[type, Any]  # one text as str and as bytes

OURS_BY_FASTEST = "speed, ours / fastest peer"
IN_A_ROW = 5  # warm passes of a fast peer over a small text, a round
SLOW_ROUNDS, LARGE_ROUNDS = 2, 3  # the most rounds of slow peers, and of a large text
FIRST_CHARACTERS = 4_000_000  # of the first text, for decoding
SENTENCE = "A new tokenizer loads its code with this sentence."
SHORT_SIZES, SHORT_BYTES = (100, 1000), 1_000_000  # of a text; of all together


@dataclass
class Speeds:
    """MB/s of one peer on one text, a number a round."""

    warm: list[float] = field(default_factory=list)
    cold: list[float] = field(default_factory=list)


def main() -> None:
    """Print the machine, then a table for each of encoding, short texts and decoding."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, help="texts, in place of the usual ones")
    parser.add_argument("--texts", default=",".join(TEXTS), help=f"some of {', '.join(TEXTS)}")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    chosen = options.texts.split(",")
    if unknown := set(chosen) - set(TEXTS):
        parser.error(f"--texts knows {', '.join(TEXTS)}, not {', '.join(sorted(unknown))}")
    texts: dict[str, Callable[[], str]] = {
        path.name: partial(read, path) for path in options.files
    } or {name: TEXTS[name] for name in chosen}
    print(machine(), flush=True)
    Tokenizer.gpt2().encode_to_array("a" * 2**20)  # which loads our compiled code
    with tempfile.TemporaryDirectory() as directory:
        Tokenizer.gpt2().save(Path(directory) / "tokenizer.json")
        make = makers(Path(directory) / "tokenizer.json")
        compare_long(texts, for_long_texts(make), options.rounds)
        first = next(iter(texts.values()))()[:FIRST_CHARACTERS]
        compare_short(first, for_short_texts(make), options.rounds)
        compare_decoding(first, make["tiktoken"](), options.rounds)


def machine() -> str:
    """Return the processor, the widest vectors of our compiled code, the commit and Python."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(": ")[1] for line in lines if line.startswith("model name")]
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    processor = f"{names[0] if names else platform.machine()} ({binding.get_host_cpu_name()})"
    python = f"Python {platform.python_version()}"
    return f"{processor}, {os.cpu_count()} cores, {vectors()}; commit {commit}; {python}\n"


def vectors() -> str:
    """Return the widest vectors that Numba compiles for, which NUMBA_CPU_FEATURES may limit."""
    features = config.CPU_FEATURES or binding.get_host_cpu_features().flatten()
    return next((name for name in ("avx512bw", "avx2") if f"+{name}" in features), "no AVX2")


def read(path: Path) -> str:
    """Return a file's text, its line ends as they are, without special tokens."""
    return text_of([path.read_bytes()], 1)


def compare_long(texts: Mapping[str, Callable[[], str]], peers: list[Peer], rounds: int) -> None:
    """Print MB/s of each peer on each text, warm / cold, and our ratio to the fastest."""
    columns = [["encoding, MB/s warm / cold", *(peer.name for peer in peers), OURS_BY_FASTEST]]
    for name, make_text in texts.items():
        text = both(make_text())
        size = len(text[bytes])
        measured = [peer for peer in peers if peer.most_bytes >= size]
        speeds = measure(text, measured, min(rounds, LARGE_ROUNDS) if size > LARGE else rounds)
        cells = [cell(speeds[peer.name]) if peer.name in speeds else "-" for peer in peers]
        columns.append([f"{name}, {size / 1e6:.0f} MB", *cells, ratios(speeds)])
        del text  # before the next is made
    print_table(list(zip(*columns, strict=True)))


def both(text: str) -> Text:
    """Return a text in the two forms that peers take."""
    return {str: text, bytes: text.encode()}


def measure(text: Text, peers: list[Peer], rounds: int) -> dict[str, Speeds]:
    """Return the speeds of peers on a text, after a look at their ids.

    Args:
        text: The text.
        peers: Ours first.
        rounds: How often to measure all.
    """
    made = {peer.name: peer.make() for peer in peers}
    check_ids(text, peers, made)
    megabytes = len(text[bytes]) / 1e6
    speeds = {peer.name: Speeds() for peer in peers}
    for number in range(rounds):
        for peer in peers[:: -1 if number % 2 else 1]:
            if number < SLOW_ROUNDS or not peer.is_slow:
                times = warm_and_cold(peer, made[peer.name], text)
                speeds[peer.name].warm.append(megabytes / times[0])
                speeds[peer.name].cold.append(megabytes / times[1])
    return speeds


def warm_and_cold(peer: Peer, tokenizer: Any, text: Text) -> tuple[float, float]:
    """Return the seconds in which a peer encodes a text that it has just encoded, and a first one.

    Args:
        peer: The peer.
        tokenizer: Its tokenizer, which has encoded the text.
        text: The text.
    """
    encode = partial(peer.encode, tokenizer, text[peer.takes])
    often = not peer.is_slow and len(text[bytes]) <= SLOW
    if often:
        encode()  # so that what ran before does not hold the processor's caches
    warm = statistics.median(seconds(encode) for _ in range(IN_A_ROW if often else 1))
    fresh = peer.make()
    peer.encode(fresh, both(SENTENCE)[peer.takes])
    return warm, seconds(partial(peer.encode, fresh, text[peer.takes]))


def check_ids(text: Text, peers: list[Peer], made: dict[str, Any]) -> None:
    """Exit if a peer's ids differ from ours, which are those of the first."""
    expected = peers[0].ids(peers[0].encode(made[peers[0].name], text[peers[0].takes]))
    for peer in peers[1:]:
        found = peer.ids(peer.encode(made[peer.name], text[peer.takes]))
        if not np.array_equal(found, expected):
            sys.exit(f"the ids of {peer.name} differ")


def cell(speeds: Speeds) -> str:
    """Return the medians, warm / cold."""
    return f"{statistics.median(speeds.warm):.0f} / {statistics.median(speeds.cold):.0f}"


def ratios(speeds: Mapping[str, Speeds]) -> str:
    """Return our speed by the fastest peer's, warm / cold; ours is the first of `speeds`."""
    ours, *others = speeds
    rounds = len(speeds[ours].warm)
    peers = [name for name in others if not name.startswith(OURS)]
    compared = [ours, *(name for name in peers if len(speeds[name].warm) == rounds)]
    warm = ours_by_fastest({name: speeds[name].warm for name in compared})
    cold = ours_by_fastest({name: speeds[name].cold for name in compared})
    return f"{warm} / {cold}"


def compare_short(text: str, peers: list[Peer], rounds: int) -> None:
    """Print the microseconds of a call with a short text, one text after the other."""
    made = {peer.name: peer.make() for peer in peers}
    columns = [["a short text to a list, us", *made, OURS_BY_FASTEST]]
    for size in SHORT_SIZES:
        texts = pieces(text, size)
        for short in texts:  # all come a second time when they are measured
            check_ids(short, peers, made)
        calls = {
            peer.name: partial(encode_each, peer, made[peer.name], [t[peer.takes] for t in texts])
            for peer in peers
        }
        speeds = {name: [1 / t for t in times] for name, times in in_turn(calls, rounds).items()}
        micro = [1e6 / len(texts) / statistics.median(found) for found in speeds.values()]
        head = f"{size:,} bytes, {len(texts):,} texts"
        columns.append([head, *(f"{t:.1f}" for t in micro), ours_by_fastest(speeds)])
    print_table(list(zip(*columns, strict=True)))


def pieces(text: str, size: int) -> list[Text]:
    """Return the first pieces of a text, of `size` bytes each or a part of a character fewer."""
    utf8 = text.encode()[:SHORT_BYTES]
    starts = range(0, len(utf8) - size + 1, size)
    return [both(utf8[start : start + size].decode("utf-8", "ignore")) for start in starts]


def encode_each(peer: Peer, tokenizer: Any, texts: Sequence[Any]) -> None:
    """Encode texts, one after the other."""
    encode = peer.encode
    for text in texts:
        encode(tokenizer, text)


def compare_decoding(text: str, encoding: Any, rounds: int) -> None:
    """Print the milliseconds that decoding a list, and an array, of ids takes.

    Args:
        text: What the ids are of.
        encoding: tiktoken's.
        rounds: How often to measure all.
    """
    gpt2 = Tokenizer.gpt2()
    array = gpt2.encode_to_array(text)
    ids = array.tolist()
    calls = {
        f"{OURS}, list": lambda: gpt2.decode_bytes(ids),
        f"{OURS}, array": lambda: gpt2.decode_bytes(array),
        "tiktoken, list": lambda: encoding.decode_bytes(ids),
    }
    if len({call() for call in calls.values()}) != 1:
        sys.exit("the bytes differ")
    times = in_turn(calls, rounds)
    rows = [[name, f"{1e3 * statistics.median(found):.1f}"] for name, found in times.items()]
    print_table([[f"decoding {len(ids):,} ids", "ms"], *rows])


if __name__ == "__main__":
    main()
