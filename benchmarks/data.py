"""Text in parquet to token shards, by one core and by two, and the pace of batches.

python benchmarks/data.py [--megabytes 1600] [--rounds 5]

The text is that of FineWeb-Edu in schema and size of rows (1,000 a row group, zstd): docstrings of
all packages that are installed, put together at random. Each measurement is a process of its own
on as many processors as it may use, loaded and warm when the clock starts; the clock stops when
the shards are on disk. The peer is what nanoGPT and build-nanogpt do: pyarrow, tiktoken on as many
threads, numpy, a file. Batches are read from the page cache.
"""

import argparse
import ast
import os
import random
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gpt2.config import PrepareConfig
from gpt2.data.batches import Batches, TokenStream
from gpt2.data.shard_folder import open_shards
from gpt2.prepare.pipeline import Progress, prepare
from gpt2.prepare.sources import find
from llm_tokenizer import Tokenizer

# tiktoken's own pattern for GPT-2, so that no vocabulary has to be downloaded.
TIKTOKEN_SPLIT = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
STEPS = 50


def main() -> None:
    """Print the paces, and the medians of the ratios of two cores to one."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--megabytes", type=int, default=1600, help="of text")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)  # a measurement's process
    options = parser.parse_args()
    if options.measure:
        what, cores, source, out = options.measure
        return measure(what, int(cores), Path(source), Path(out))
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory)
        size = write_text(place / "text.parquet", options.megabytes * 10**6)
        parquet = (place / "text.parquet").stat().st_size
        print(f"{size / 1e6:.0f} MB of text in {parquet / 1e6:.0f} MB of parquet", flush=True)
        compare(place, size, options.rounds)
        pace_of_batches(place / "ours-2")


def compare(place: Path, size: int, rounds: int) -> None:
    """Print MB/s of each way on one core and two."""
    found: dict[tuple[str, int], list[float]] = {}
    for number in range(rounds):
        for what in ("ours", "tiktoken")[: 1 if number else 2]:  # the peer once: it takes minutes
            for cores in (1, 2):
                args = [
                    what,
                    str(cores),
                    str(place / "text.parquet"),
                    str(place / f"{what}-{cores}"),
                ]
                done = subprocess.run(
                    [sys.executable, __file__, "--measure", *args],
                    check=True, capture_output=True, text=True,
                )  # fmt: skip
                seconds, memory = map(float, done.stdout.split())
                found.setdefault((what, cores), []).append(seconds)
                pace = size / 1e6 / seconds
                print(f"{what}, cores {cores}: {pace:.0f} MB/s, {memory:.0f} MB", flush=True)
    for (what, cores), times in found.items():
        print(f"median, {what}, cores {cores}: {size / 1e6 / statistics.median(times):.0f} MB/s")
    ratios = [one / two for one, two in zip(found["ours", 1], found["ours", 2], strict=True)]
    print(
        "two cores to one:",
        ", ".join(f"{r:.2f}" for r in ratios),
        f"median {statistics.median(ratios):.2f}",
    )


def measure(what: str, cores: int, source: Path, out: Path) -> None:
    """Print the seconds of one way, and its peak memory in MB."""
    import resource

    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    run = with_tiktoken if what == "tiktoken" else with_ours
    print(run(source, out, cores), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)


def with_ours(source: Path, out: Path, workers: int) -> float:
    """Return the seconds that `prepare` takes, its checksums of the source included."""
    tokenizer = Tokenizer.gpt2()
    tokenizer.encode_documents([" warm" * 2**18])
    start = time.perf_counter()
    shown: list[Progress] = []
    prepare(
        find([str(source)]),
        tokenizer,
        out,
        PrepareConfig(),
        workers=workers,
        force=True,
        show=shown.append,
    )
    return time.perf_counter() - start


def with_tiktoken(source: Path, out: Path, workers: int) -> float:
    """Return the seconds that tiktoken takes from the same file to ids in a file."""
    import tiktoken

    gpt2 = Tokenizer.gpt2()
    peer = tiktoken.Encoding(
        "gpt2",
        pat_str=TIKTOKEN_SPLIT,
        mergeable_ranks=dict(gpt2.vocabulary.token_ids),
        special_tokens=dict(gpt2.vocabulary.special_tokens),
    )
    start = time.perf_counter()
    with out.open("wb") as file:
        for batch in pq.ParquetFile(source).iter_batches(1000, columns=["text"]):
            for ids in peer.encode_ordinary_batch(batch.column(0).to_pylist(), num_threads=workers):
                file.write(np.array([gpt2.eot_token, *ids], np.uint16).tobytes())
        os.fsync(file.fileno())
    return time.perf_counter() - start


def pace_of_batches(directory: Path) -> None:
    """Print how many tokens a second the batches of a training run bring."""
    data = open_shards(directory)
    for length, rows in ((1024, 512), (1024, 8), (128, 256)):
        batches = Batches(TokenStream(data.train, length), rows, seed=0)
        batches.at(0)
        start = time.perf_counter()
        for step in range(1, STEPS + 1):
            batches.at(step)
        pace = STEPS * rows * length / (time.perf_counter() - start)
        print(f"batches of {rows} x {length}: {pace / 1e6:.0f} million tokens/s")
        batches.close()


def write_text(path: Path, size: int) -> int:
    """Write documents as FineWeb-Edu has them; return the bytes of their text."""
    draw = random.Random(0)
    paragraphs = sorted(set(docstrings()))
    schema = pa.schema({
        "text": pa.string(), "id": pa.string(), "dump": pa.string(), "url": pa.string(),
        "file_path": pa.string(), "language": pa.string(), "language_score": pa.float64(),
        "token_count": pa.int64(), "score": pa.float64(), "int_score": pa.int64(),
    })  # fmt: skip
    written = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        while written < size:
            texts = [
                "\n\n".join(draw.choices(paragraphs, k=draw.randint(2, 10))) for _ in range(1000)
            ]
            rows = [
                {
                    "text": text, "id": f"<urn:uuid:{draw.getrandbits(128):032x}>",
                    "dump": "CC-MAIN-2024-10", "url": f"https://example.org/{draw.random()}",
                    "file_path": "s3://commoncrawl/example", "language": "en",
                    "language_score": draw.random(), "token_count": len(text) // 4,
                    "score": 5 * draw.random(), "int_score": 3,
                }
                for text in texts
            ]  # fmt: skip
            file.write_table(pa.Table.from_pylist(rows, schema), row_group_size=1000)
            written += sum(len(text.encode()) for text in texts)
    return written


def docstrings() -> Iterator[str]:
    """Give the docstrings of the standard library and of what is installed."""
    warnings.simplefilter("ignore")
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for folder in {sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")}:
        for path in Path(folder).rglob("*.py"):
            try:
                nodes = ast.walk(ast.parse(path.read_bytes()))
                found = [ast.get_docstring(node) for node in nodes if isinstance(node, documented)]
            except (SyntaxError, ValueError, RecursionError):
                continue
            yield from (text for text in found if text and len(text) > 80)


if __name__ == "__main__":
    main()
