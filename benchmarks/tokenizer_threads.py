"""How much faster do two threads encode many documents than one?

python benchmarks/tokenizer_threads.py [--rounds 5]

The documents are the files of 60 MB of Python sources. A ratio is the median over rounds of the
time on one thread by the time on two, so 2 is the most.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ["RAYON_NUM_THREADS"] = "2"

import pyarrow as pa
from tokenizer_peers import OURS, makers
from tokenizer_tables import in_turn, print_table
from tokenizer_texts import MEGABYTE, python_sources, up_to

from llm_tokenizer import Tokenizer
from llm_tokenizer.vocabulary import END_OF_TEXT


def main() -> None:
    """Print MB/s on one thread and on two, and the ratio of times."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    sources = up_to(python_sources(), 60 * MEGABYTE)
    documents = [text.decode("utf-8", "replace").replace(END_OF_TEXT, "") for text in sources]
    megabytes = sum(len(text.encode()) for text in documents) / 1e6
    encoders = all_encoders(documents)
    calls = {
        f"{name}, {threads}": partial(encode, threads)
        for name, encode in encoders.items()
        for threads in (1, 2)
    }
    in_turn(calls, 1)  # which loads code and fills caches
    times = in_turn(calls, options.rounds)
    rows = [[f"{len(documents):,} documents, {megabytes:.0f} MB", "MB/s, 1 / 2 threads", "ratio"]]
    for name in encoders:
        one, two = times[f"{name}, 1"], times[f"{name}, 2"]
        speeds = [f"{megabytes / statistics.median(found):.0f}" for found in (one, two)]
        ratio = statistics.median(a / b for a, b in zip(one, two, strict=True))
        rows.append([name, " / ".join(speeds), f"{ratio:.2f}"])
    print_table(rows)


def all_encoders(documents: list[str]) -> dict[str, Callable[[int], object]]:
    """Return what encodes the documents on a number of threads, ours first."""
    with tempfile.TemporaryDirectory() as directory:
        Tokenizer.gpt2().save(Path(directory) / "tokenizer.json")
        ours, other = (makers(Path(directory) / "tokenizer.json")[k]() for k in (OURS, "gigatoken"))
    arrow, utf8 = pa.array(documents, pa.large_string()), [text.encode() for text in documents]
    return {
        f"{OURS} encode_documents of Arrow": lambda n: ours.encode_documents(arrow, num_threads=n),
        f"{OURS} encode_documents of strings": lambda n: ours.encode_documents(
            documents, num_threads=n
        ),
        "gigatoken encode_batch of bytes": lambda n: other.encode_batch(utf8, parallel=n > 1),
    }


if __name__ == "__main__":
    main()
