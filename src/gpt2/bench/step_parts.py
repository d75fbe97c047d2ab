"""Where the time of a training step goes: embedding, attention, MLP, head and loss, and the rest.

A step is in exactly one part at any moment, so that the parts add up to the step. A part begins and
ends at hooks: on modules in the forward pass, on the tensors between them in the backward pass.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from gpt2 import devices
from gpt2.data.batches import Batches

EMBEDDING, ATTENTION, MLP, HEAD = "embedding", "attention", "MLP", "head and loss"
OPTIMIZER, DATA, OTHER = "optimizer", "data", "other"
BLOCKS = "blocks"  # attention, MLP and other of compiled blocks, which cannot be told apart
PARTS = (EMBEDDING, ATTENTION, MLP, BLOCKS, HEAD, OPTIMIZER, DATA, OTHER)


class Steps(Protocol):
    """What takes the steps, such as `gpt2.train.loop.Trainer`."""

    batches: Batches

    def take_step(self) -> dict[str, Any]:
        """Take one optimizer step, and return its "loss"."""


class StepClock:
    """Notes which part of a step begins when.

    Args:
        device: Where the step runs. On a GPU, events in its stream are the clock, so that nothing
            waits for it.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._begun: list[tuple[str, Any]] = []  # each part and its time, in order

    def enter(self, part: str) -> None:
        """Begin a part, and so end the one before."""
        self._begun.append((part, self._now()))

    def leave(self, part: str, following: str) -> None:
        """Begin the part that follows, if `part` has not ended already."""
        if self._begun and self._begun[-1][0] == part:
            self.enter(following)

    def measure(self, step: Callable[[], object]) -> dict[str, float]:
        """Take a step; return the seconds of each part that it has."""
        self._begun.clear()
        self.enter(OTHER)
        step()
        self.enter("end")
        devices.synchronize(self._device)
        seconds: dict[str, float] = {}
        for (part, start), (_, end) in zip(self._begun, self._begun[1:], strict=False):
            seconds[part] = seconds.get(part, 0.0) + self._seconds(start, end)
        return {part: seconds[part] for part in PARTS if part in seconds}

    def _now(self) -> Any:
        if self._device.type == "cuda":
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            return event
        devices.synchronize(self._device)
        return time.perf_counter()

    def _seconds(self, start: Any, end: Any) -> float:
        if self._device.type == "cuda":
            return float(start.elapsed_time(end)) / 1e3
        return float(end - start)


@contextmanager
def watched(
    steps: Steps, network: nn.Module, device: torch.device, *, compiled: bool = False
) -> Iterator[StepClock]:
    """Attach a clock to what takes the steps, and to a network, while the context lasts.

    Attention and MLP are with the normalization before them, the head with the last one; clipping
    belongs to the optimizer, and waiting for the rows is the data's.

    Args:
        steps: Takes the steps.
        network: With the modules wte, drop, h and ln_f, and in each block ln_1, attn, ln_2 and mlp.
        device: Where it is.
        compiled: Whether its blocks are compiled; they are then one part.
    """
    clock = StepClock(device)
    modules: Any = network
    between = BLOCKS if compiled else OTHER
    spans = [(EMBEDDING, modules.wte, modules.drop), (HEAD, modules.ln_f, None)]
    for block in () if compiled else modules.h:
        spans += [(ATTENTION, block.ln_1, block.attn), (MLP, block.ln_2, block.mlp)]
    handles = [
        handle
        for part, first, last in spans
        for handle in _watch_span(clock, part, first, last, between)
    ]
    methods = ((steps.batches, "at", DATA), (steps, "update", OPTIMIZER))
    for owner, name, part in methods:  # an attribute of the instance hides the method
        setattr(owner, name, _timed(clock, part, getattr(owner, name)))
    try:
        yield clock
    finally:
        for handle in handles:
            handle.remove()
        for owner, name, _ in methods:
            delattr(owner, name)


def _watch_span(
    clock: StepClock, part: str, first: nn.Module, last: nn.Module | None, between: str
) -> Iterator[Any]:
    """Note the passes through modules that follow each other, from `first` to `last`.

    Without a last module the span goes from the first one's forward pass to its backward pass.
    """

    def begin(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        clock.enter(part)
        _when_gradient_is_there(inputs[0], lambda: clock.leave(part, between))

    def end(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        clock.enter(between)
        tensor = output[0] if isinstance(output, tuple) else output
        _when_gradient_is_there(tensor, lambda: clock.enter(part))

    yield first.register_forward_pre_hook(begin)
    if last is not None:
        yield last.register_forward_hook(end)


def _when_gradient_is_there(tensor: Tensor, act: Callable[[], None]) -> None:
    """Act in the backward pass between what reads the tensor and what made it."""
    if tensor.requires_grad:
        tensor.register_hook(lambda gradient: act())


def _timed(clock: StepClock, part: str, method: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        clock.enter(part)
        result = method(*args, **kwargs)
        clock.enter(OTHER)
        return result

    return call
