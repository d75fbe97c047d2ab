"""How long does learning a vocabulary take, beside peers?

python benchmarks/tokenizer_training.py [--rounds 3]

50 MB of the Python installation's sources, to 32,000 tokens. Peers use all cores; ours uses one.
"""

import argparse
import os
import statistics
from collections.abc import Callable
from functools import partial
from importlib.metadata import version

os.environ["TOKENIZERS_PARALLELISM"] = "true"

import rustbpe
import tokenizers
from tokenizer_peers import OURS
from tokenizer_tables import in_turn, ours_by_fastest, print_table
from tokenizer_texts import MEGABYTE, python_sources, up_to
from tokenizers import models, pre_tokenizers, trainers

from llm_tokenizer import Tokenizer

TRAINED_VOCABULARY = 32_000
SPLIT = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def main() -> None:
    """Print the seconds of each, medians over rounds in turn."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    sources = up_to(python_sources(), 50 * MEGABYTE)
    texts = [text.decode("utf-8", "replace") for text in sources]
    Tokenizer.train(texts[:1], 300)  # which loads the compiled path
    times = in_turn(all_trainers(texts), options.rounds)
    rows = [[name, f"{statistics.median(found):.2f}"] for name, found in times.items()]
    speeds = {name: [1 / t for t in found] for name, found in times.items()}
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    head = [f"training on {megabytes:.0f} MB to {TRAINED_VOCABULARY:,} tokens", "s"]
    print_table([head, *rows, ["speed, ours / fastest peer", ours_by_fastest(speeds)]])


def all_trainers(texts: list[str]) -> dict[str, Callable[[], object]]:
    """Return what learns from the texts, ours first."""
    return {
        f"{OURS} {version(OURS)}": partial(Tokenizer.train, texts, TRAINED_VOCABULARY),
        f"rustbpe {version('rustbpe')}": lambda: rustbpe.Tokenizer().train_from_iterator(
            iter(texts), TRAINED_VOCABULARY - 1, pattern=SPLIT
        ),
        f"tokenizers {version('tokenizers')}": partial(train_hugging_face, texts),
    }


def train_hugging_face(texts: list[str]) -> None:
    """Learn a vocabulary with Hugging Face's tokenizers."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=TRAINED_VOCABULARY - 1,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)


if __name__ == "__main__":
    main()
