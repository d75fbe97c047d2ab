"""What quantization costs: perplexity of held-out text beside that of the float weights.

python benchmarks/quantization.py [--model runs/demo] [--data runs/demo/data] [--tokens 100000]
"""

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from gpt2.data.shard_folder import open_shards
from gpt2.evaluate.perplexity import token_nats
from gpt2.evaluate.scoring import Scorer
from gpt2.files.pretrained import GPT2
from gpt2.model.quantized import Bits, quantize_network

# Bits of the blocks, and of the token embeddings with the head.
PRECISIONS: dict[str, tuple[Bits, Bits]] = {
    "int8": (8, 8),
    "int4": (4, 8),
    "int4, embeddings too": (4, 4),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="runs/demo", help="as of gpt2 eval (runs/demo)")
    parser.add_argument("--data", type=Path, default=Path("runs/demo/data"), help="prepared folder")
    parser.add_argument("--tokens", type=int, default=100_000, help="held-out tokens at most")
    options = parser.parse_args()

    model = GPT2.from_pretrained(options.model, dtype=torch.float32)
    data = open_shards(options.data)
    held_out = np.concatenate(data.val)[: options.tokens].astype(np.int64)
    parameters = model.num_parameters()
    print(f"{options.model}: {parameters:,} parameters; {len(held_out):,} held-out tokens")
    print(f"{'precision':22}{'bytes':>13}{'perplexity':>12}{'difference':>12}{'± 1 s.e.':>10}")
    exact = token_nats(Scorer(model), held_out)
    print_row("float32", model, exact, exact)
    for name, bits in PRECISIONS.items():
        model = GPT2.from_pretrained(options.model, dtype=torch.float32)
        start = time.perf_counter()
        quantize_network(model, *bits)
        seconds = time.perf_counter() - start
        print_row(name, model, token_nats(Scorer(model), held_out), exact)
        print(f"{'':22}quantized in {seconds:.2f} s, {torch.get_num_threads()} threads")


def print_row(
    name: str, model: GPT2, nats: NDArray[np.float64], exact: NDArray[np.float64]
) -> None:
    """Print a precision's figures; the standard error is that of the tokens' differences."""
    size = sum(tensor.nbytes for tensor in model.state_dict().values())
    difference = (nats - exact).mean()
    error = (nats - exact).std(ddof=1) / math.sqrt(len(nats))
    print(
        f"{name:22}{size:13,}{math.exp(nats.mean()):12.3f}"
        f"{math.expm1(difference):+12.3%}{math.exp(difference) * error:10.3%}",
        flush=True,
    )


if __name__ == "__main__":
    main()
