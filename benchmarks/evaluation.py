"""Speed of perplexity: share of the processor's peak, memory, and transformers' loop beside it.

python benchmarks/evaluation.py [--windows 8] [--rounds 3] [--dtype float32] [--memory 0.2]

The weights are random, 124M of them, in windows of 1024 tokens that overlap by half. Beside it runs
the loop that transformers' documentation has for perplexity: a window at a time, with all logits.
"""

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
import transformers

from gpt2 import devices
from gpt2.config import GPT2Config
from gpt2.evaluate.packing import Question
from gpt2.evaluate.perplexity import windows_of
from gpt2.evaluate.scoring import Scorer
from gpt2.files.pretrained import GPT2

STRIDE = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=8, help="windows a round (8)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds measured (3)")
    parser.add_argument("--dtype", default="float32", choices=list(devices.DTYPES))
    parser.add_argument("--memory", type=float, help="GB a pass; what is fastest if not given")
    options = parser.parse_args()

    device, dtype = devices.select_device(), devices.DTYPES[options.dtype]
    devices.keep_freed_memory()
    transformers.logging.set_verbosity_error()
    model = GPT2(GPT2Config()).to(device, dtype).eval()
    peer = transformers.GPT2LMHeadModel(transformers.GPT2Config()).to(device, dtype).eval()
    ids = np.random.default_rng(0).integers(0, 50257, 1025 + STRIDE * (options.windows - 1))
    windows = list(windows_of(ids, 1, 1024, STRIDE))
    memory = None if options.memory is None else int(options.memory * 1e9)
    scorer = Scorer(model, memory=memory)
    loops: dict[str, Callable[[], object]] = {
        "gpt2-from-scratch": lambda: list(scorer.score(windows)),
        "transformers' loop": lambda: [peer_loss(peer, window) for window in windows],
    }
    before = resident()
    for loop in loops.values():  # the first round of each is not counted
        loop()
        print(f"at most {(resident() - before) / 1e6:,.0f} MB more than the weights", flush=True)
    operations = sum(map(operations_of, windows))
    shares: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(options.rounds):
        peak = devices.peak_flops(device, dtype)
        for name, loop in loops.items():
            start = time.perf_counter()
            loop()
            seconds = time.perf_counter() - start
            shares[name].append(operations / seconds / peak if peak else 0.0)
            tokens = len(ids) - 1
            print(f"{name:20} {tokens / seconds:8.0f} tokens/s  {shares[name][-1]:.2f} of peak")
    ours, theirs = (statistics.median(values) for values in shares.values())
    print(
        f"{options.dtype}: {ours:.2f} and {theirs:.2f} of peak, medians; ratio {ours / theirs:.2f}"
    )


def operations_of(window: Question) -> float:
    """Return the operations that a window needs: logits of scored tokens alone, half a mask."""
    config = GPT2Config()
    read = len(window.context) + len(window.continuations[0]) - 1
    blocks = 12 * config.n_layer * config.n_embd**2
    head = config.vocab_size * config.n_embd
    attention = 2 * config.n_layer * config.n_embd * read
    return 2 * read * blocks + 2 * len(window.continuations[0]) * head + read * attention


@torch.inference_mode()
def peer_loss(model: transformers.GPT2LMHeadModel, window: Question) -> float:
    """Return the mean loss of a window's scored tokens, as transformers computes it."""
    ids = torch.tensor([[*window.context, *window.continuations[0]]], device=model.device)
    labels = ids.clone()
    labels[:, : len(window.context)] = -100
    return model(ids[:, -1024:], labels=labels[:, -1024:]).loss.item()


def resident() -> float:
    """Return the most memory that the process has had, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main()
