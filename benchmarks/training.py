"""Training speed beside Hugging Face transformers: the released 124M model, in one run.

python benchmarks/training.py [--rows 1] [--length 1024] [--rounds 3]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version

import torch
import transformers
from torch import Tensor, nn

from gpt2 import devices
from gpt2.config import GPT2Config, OptimizerConfig
from gpt2.model.gpt import GPT2Network
from gpt2.train.optimizer import make_optimizers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1, help="rows a step (default: 1)")
    parser.add_argument("--length", type=int, default=1024, help="tokens a row (default: 1024)")
    parser.add_argument("--rounds", type=int, default=3, help="steps measured (default: 3)")
    options = parser.parse_args()

    device = devices.select_device()
    dtype = devices.select_dtype("auto", device)
    rates = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), 0.0)
    transformers.logging.set_verbosity_error()
    devices.make_training_fast()  # for both: transformers gains from it as much
    ours = GPT2Network(GPT2Config(**rates)).to(device)
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**rates)).to(device)
    ids = torch.randint(0, 50257, (options.rows, options.length + 1), device=device)
    inputs, targets = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
    steps = {
        "gpt2-from-scratch": step(ours, lambda: ours.loss(inputs, targets), dtype),
        "transformers": step(theirs, lambda: theirs(inputs, labels=inputs).loss, dtype),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(options.rounds + 1):
        for name, take in steps.items():  # in turn, so that a slow moment of the machine hits both
            start = time.perf_counter()
            take()
            if number:  # the first step of each is not counted
                seconds[name].append(time.perf_counter() - start)
    peak = devices.peak_flops(device, dtype)
    print(f"124M, {options.rows} x {options.length} tokens a step, {dtype}, median of the steps")
    for name, times in seconds.items():
        pace = inputs.numel() / statistics.median(times)
        share = f"{pace * ours.flops_per_token() / peak:.2f} of peak" if peak else ""
        print(f"{name:20} {version(name):10} {pace:8.0f} tokens/s  {share}")


def step(model: nn.Module, loss: Callable[[], Tensor], dtype: torch.dtype) -> Callable[[], None]:
    """Return a whole training step of a model as a function."""
    optimizers = make_optimizers(model, OptimizerConfig(), dtype)
    device = next(model.parameters()).device

    def take() -> None:
        with devices.autocast(device, dtype):
            value = loss()
        value.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0).item()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()

    return take


if __name__ == "__main__":
    main()
