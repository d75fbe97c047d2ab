"""Encoding speed beside tiktoken and Hugging Face tokenizers, one thread, in one run.

python benchmarks/tokenizer.py [FILE]     without a file: the documentation that ships with Python
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import tiktoken
from tokenizers import ByteLevelBPETokenizer

from gpt2.data.sources import read_text, stdlib_docs
from llm_tokenizer import Tokenizer

ROUNDS = 5
# tiktoken's own pattern for GPT-2, so that no vocabulary has to be downloaded.
TIKTOKEN_PATTERN = (
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
)


def main() -> None:
    text = read_text(Path(sys.argv[1])) if len(sys.argv) > 1 else "".join(stdlib_docs())
    megabytes = len(text.encode()) / 1e6
    gpt2 = Tokenizer.gpt2()
    encoders = {"gpt2-from-scratch": gpt2.encode_ordinary, **peers(gpt2)}
    ids = {name: encode(text) for name, encode in encoders.items()}  # also warms the caches
    if any(found != ids["gpt2-from-scratch"] for found in ids.values()):
        sys.exit("the ids differ")
    seconds: dict[str, list[float]] = {name: [] for name in encoders}
    for _ in range(ROUNDS):  # in turn, so that a slow moment of the machine hits all
        for name, encode in encoders.items():
            start = time.perf_counter()
            encode(text)
            seconds[name].append(time.perf_counter() - start)
    print(f"{megabytes:.2f} MB of text, one thread, median of {ROUNDS} rounds, caches warm")
    for name, times in seconds.items():
        print(f"{name:20} {version(name):10} {megabytes / statistics.median(times):8.2f} MB/s")


def peers(gpt2: Tokenizer) -> dict[str, Callable[[str], list[int]]]:
    """Return the peers' encoders, built from our copy of the vocabulary."""
    encoding = tiktoken.Encoding(
        "gpt2",
        pat_str=TIKTOKEN_PATTERN,
        mergeable_ranks=dict(gpt2.vocabulary.token_ids),
        special_tokens=dict(gpt2.vocabulary.special_tokens),
    )
    with tempfile.TemporaryDirectory() as directory:
        gpt2.save(directory)
        hugging_face = ByteLevelBPETokenizer(f"{directory}/vocab.json", f"{directory}/merges.txt")
    return {
        "tiktoken": encoding.encode_ordinary,
        "tokenizers": lambda text: hugging_face.encode(text).ids,
    }


if __name__ == "__main__":
    main()
