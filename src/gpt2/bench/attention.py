"""The attention backends side by side: time, memory, and how far their logits are apart."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from gpt2 import devices
from gpt2.errors import InputError
from gpt2.model.gpt import GPT2Network, evaluating


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One choice of backends at one length."""

    length: int  # tokens a row
    attention: str  # "flash", "manual", or "manual in block 3", where the others are flash
    forward_seconds: float  # median
    forward_backward_seconds: float  # median; of the loss, and of all gradients
    memory_bytes: int | None  # at the peak of forward and backward pass, beside the weights
    largest_difference: float  # of a logit from that of flash


def measure(
    model: GPT2Network,
    lengths: Iterable[int],
    *,
    rows: int = 1,
    rounds: int = 5,
    per_block: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Iterator[Measurement]:
    """Measure a model with flash, with manual and, per block, with manual in that block alone.

    Args:
        model: Measured without dropout; its backends are as before when this is done.
        lengths: Tokens a row.
        rows: Rows of random tokens.
        rounds: Times that each is measured, in turn, so that a slow moment hits all.
        per_block: Measure each block alone, too.
        dtype: Of the matrix products.
    Raises:
        InputError: A length is not 1 to n_positions.
    """
    longest = model.config.n_positions
    lengths = list(lengths)
    if outside := [length for length in lengths if not 1 <= length <= longest]:
        raise InputError(
            f"lengths must be 1 to {longest}, the positions of this model, got {outside}"
        )
    every = list(range(model.config.n_layer))
    choices = {"flash": [], "manual": every}
    if per_block:
        choices |= {f"manual in block {block}": [block] for block in every}
    generator = torch.Generator().manual_seed(0)
    with evaluating(model), _backends_kept(model):
        for length in lengths:
            shape = (rows, length)
            ids = torch.randint(0, model.config.vocab_size, shape, generator=generator)
            yield from _measure(model, ids.to(model.device), choices, rounds, dtype)


def _measure(
    model: GPT2Network,
    ids: Tensor,
    choices: dict[str, list[int]],
    rounds: int,
    dtype: torch.dtype,
) -> Iterator[Measurement]:
    device = model.device

    @torch.no_grad()
    def forward() -> Tensor:
        with devices.autocast(device, dtype):
            return model(ids)

    def backward() -> None:
        with devices.autocast(device, dtype):
            loss = model.loss(ids, ids)
        loss.backward()
        model.zero_grad()

    logits, memory = {}, {}
    for name, blocks in choices.items():  # this warms up, too
        _choose(model, blocks)
        logits[name] = forward().float()
        memory[name] = devices.peak_memory(device, backward)
    seconds: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in choices}
    for _ in range(rounds):
        for name, blocks in choices.items():
            _choose(model, blocks)
            for work, times in zip((forward, backward), seconds[name], strict=True):
                started = time.perf_counter()
                work()
                devices.synchronize(device)
                times.append(time.perf_counter() - started)
    for name, (forwards, backwards) in seconds.items():
        yield Measurement(
            length=ids.size(1),
            attention=name,
            forward_seconds=median(forwards),
            forward_backward_seconds=median(backwards),
            memory_bytes=memory[name],
            largest_difference=(logits[name] - logits["flash"]).abs().max().item(),
        )


def _choose(model: GPT2Network, manual_blocks: list[int]) -> None:
    model.set_attention("flash")
    model.set_attention("manual", manual_blocks)


@contextmanager
def _backends_kept(model: GPT2Network) -> Iterator[None]:
    before = [model.block(i).attn.backend for i in range(model.config.n_layer)]
    try:
        yield
    finally:
        for i, backend in enumerate(before):
            model.set_attention(backend, [i])
