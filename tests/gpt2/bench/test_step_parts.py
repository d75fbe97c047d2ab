from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from gpt2.bench import step_parts
from gpt2.bench.step_parts import watched
from gpt2.bench.training_peers import make_peer
from gpt2.config import GPT2Config, RunConfig, TrainingConfig
from gpt2.data.batches import Batches, TokenStream

CPU = torch.device("cpu")


class Hours:
    """A clock that only the work moves."""

    def __init__(self) -> None:
        self.now = 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Hours:
    hours = Hours()
    monkeypatch.setattr(step_parts.time, "perf_counter", lambda: hours.now)
    return hours


class Takes(nn.Module):
    """Takes some time in the forward pass, and another in the backward pass."""

    def __init__(self, hours: Hours, forward: float, backward: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.times = hours, forward, backward

    def forward(self, x: Tensor) -> Tensor:
        return _TakeTime.apply(x, self.weight, *self.times)


class _TakeTime(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, hours: Hours, *times: float) -> Tensor:
        hours.now += times[0]
        ctx.hours, ctx.backward_time = hours, times[1]
        ctx.save_for_backward(x)
        return x * weight

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        ctx.hours.now += ctx.backward_time
        return gradient, (gradient * x).sum(), None, None, None


class Block(nn.Module):
    def __init__(self, hours: Hours) -> None:
        super().__init__()
        self.ln_1, self.attn = Takes(hours, 1, 2), Takes(hours, 10, 20)
        self.ln_2, self.mlp = Takes(hours, 100, 200), Takes(hours, 1000, 2000)
        self.residual = Takes(hours, 0.25, 0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.residual(x + self.attn(self.ln_1(x)))
        return x + self.mlp(self.ln_2(x))


class Network(nn.Module):
    def __init__(self, hours: Hours) -> None:
        super().__init__()
        self.wte, self.drop = Takes(hours, 1e4, 2e4), Takes(hours, 3e4, 4e4)
        self.h = nn.ModuleList(Block(hours) for _ in range(2))
        self.ln_f, self.head = Takes(hours, 1e5, 2e5), Takes(hours, 3e5, 4e5)
        self.checkpointed = False

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.wte(x))
        for block in self.h:
            x = checkpoint(block, x, use_reentrant=False) if self.checkpointed else block(x)
        return self.head(self.ln_f(x)).sum()


class Rows:
    def __init__(self, hours: Hours) -> None:
        self.hours = hours

    def at(self, step: int) -> Tensor:
        self.hours.now += 1e6
        return torch.ones(3)


class Loop:
    def __init__(self, network: Network, hours: Hours) -> None:
        self.network, self.hours, self.batches = network, hours, Rows(hours)

    def take_step(self) -> dict[str, Any]:
        self.network(self.batches.at(0)).backward()
        self.update()
        self.hours.now += 0.125
        return {}

    def update(self) -> None:
        self.hours.now += 1e7


EXPECTED = {
    "embedding": 1e4 + 2e4 + 3e4 + 4e4,
    "attention": 2 * (1 + 2 + 10 + 20),
    "MLP": 2 * (100 + 200 + 1000 + 2000),
    "head and loss": 1e5 + 2e5 + 3e5 + 4e5,
    "optimizer": 1e7,
    "data": 1e6,
    "other": 2 * (0.25 + 0.5) + 0.125,
}


def test_each_part_has_the_time_of_its_forward_and_backward_pass(clock: Hours) -> None:
    network = Network(clock)
    loop = Loop(network, clock)
    with watched(loop, network, CPU) as step_clock:
        assert step_clock.measure(loop.take_step) == EXPECTED
        assert step_clock.measure(loop.take_step) == EXPECTED  # anew each time


def test_compiled_blocks_are_one_part(clock: Hours) -> None:
    network = Network(clock)
    loop = Loop(network, clock)
    with watched(loop, network, CPU, compiled=True) as step_clock:
        parts = step_clock.measure(loop.take_step)
    of_blocks = EXPECTED["attention"] + EXPECTED["MLP"] + 2 * (0.25 + 0.5)
    assert parts["blocks"] == of_blocks
    assert parts["head and loss"] == EXPECTED["head and loss"]
    assert not {"attention", "MLP"} & parts.keys()


def test_what_is_computed_again_belongs_to_the_same_part(clock: Hours) -> None:
    network = Network(clock)
    network.checkpointed = True
    loop = Loop(network, clock)
    with watched(loop, network, CPU) as step_clock:
        parts = step_clock.measure(loop.take_step)
    assert parts["attention"] == EXPECTED["attention"] + 2 * (1 + 10)
    # The last module of a block is not computed again where nothing that it saves is missing.
    assert EXPECTED["MLP"] + 2 * 100 <= parts["MLP"] <= EXPECTED["MLP"] + 2 * 1100
    assert parts["head and loss"] == EXPECTED["head and loss"]


def test_a_network_that_is_no_longer_watched_is_as_before(clock: Hours) -> None:
    network = Network(clock)
    loop = Loop(network, clock)
    with pytest.raises(ValueError, match="no more"), watched(loop, network, CPU):
        assert "update" in vars(loop)
        raise ValueError("no more")
    for module in network.modules():
        assert not module._forward_hooks and not module._forward_pre_hooks
    assert "update" not in vars(loop) and "at" not in vars(loop.batches)


@pytest.fixture
def batches() -> Iterator[Batches]:
    shard = np.random.default_rng(0).integers(64, size=500).astype(np.uint16)
    with closing(Batches(TokenStream([shard], 8), 2, seed=0)) as opened:
        yield opened


@pytest.mark.parametrize("name", ["nanogpt-like", "transformers"])
def test_parts_of_a_network_add_up_to_its_step(batches: Batches, name: str) -> None:
    if name == "transformers":
        pytest.importorskip("transformers")
    shape = GPT2Config(vocab_size=64, n_positions=8, n_embd=8, n_layer=2, n_head=2)
    training = TrainingConfig(micro_batch=2, batch_tokens=16, dtype="float32")
    steps, network = make_peer(name, RunConfig(model=shape, training=training), batches, CPU)
    with watched(steps, network, CPU) as step_clock:
        whole, parts = timed(lambda: step_clock.measure(steps.take_step))
    assert parts.keys() == EXPECTED.keys()
    assert min(parts.values()) > 0
    assert sum(parts.values()) <= whole


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = step_parts.time.perf_counter()
    result = work()
    return step_parts.time.perf_counter() - started, result
