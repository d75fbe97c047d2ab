"""Training on a GPU: its steps are those of a CPU, and wait for nothing but what is logged."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.fsdp import FSDPModule
from torch.utils._python_dispatch import TorchDispatchMode

from gpt2 import devices
from gpt2.config import OptimizerConfig, RunConfig
from gpt2.data.shard_folder import open_shards
from gpt2.files.training_state import TrainingState
from gpt2.model.sharding import full_tensor
from gpt2.train.build import build
from gpt2.train.distributed import Parallel, Processes
from gpt2.train.interruption import InterruptedRunError
from gpt2.train.loop import Trainer
from gpt2.train.metrics import Row
from gpt2.train.run import resume, start

NO_DROPOUT = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), 0.0)


def at_the_start(config: RunConfig, device: torch.device, **training: Any) -> Trainer:
    """Return the trainer of a run before its first step."""
    training |= {"device": device.type}
    config = replace(config, training=replace(config.training, **training))
    data = open_shards(config.data.directory)
    return build(config, data, TrainingState(), None, Processes(device), [])


def steps(trainer: Trainer, count: int = 3) -> list[Row]:
    """Take some steps, and return the losses and the norms of the gradients."""
    with closing(trainer.batches):
        rows = [trainer.take_step() for _ in range(count)]
    return [{name: row[name] for name in ("loss", "grad_norm")} for row in rows]


def assert_close(rows: list[Row], others: list[Row], tolerance: float) -> None:
    for row, other in zip(rows, others, strict=True):
        assert row == pytest.approx(other, rel=tolerance)


def weights(trainer: Trainer) -> dict[str, Tensor]:
    named = trainer.parallel.model.named_parameters()
    return {name: full_tensor(parameter).cpu().clone() for name, parameter in named}


def assert_moved_alike(
    before: dict[str, Tensor], found: dict[str, Tensor], wanted: dict[str, Tensor], tolerance: float
) -> None:
    """Compare weights by their mean difference, relative to how far they have come.

    Where a gradient is next to nothing, AdamW's step goes either way.
    """
    for name, weight in wanted.items():
        if not name.endswith("c_attn.bias"):  # those of the keys change no loss: all is rounding
            moved = (weight - before[name]).abs().mean()
            assert (found[name] - weight).abs().mean() <= tolerance * moved, name


@pytest.mark.parametrize("kind", ["adamw", "muon", "normuon"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 2e-2), ("float16", 5e-3)]
)
def test_steps_are_those_of_float32_on_a_cpu(
    device: torch.device, config: RunConfig, kind: Any, dtype: Any, tolerance: float
) -> None:
    optimizer = OptimizerConfig(kind=kind, learning_rate=5e-3, warmup_steps=1)
    config = replace(config, model=replace(config.model, **NO_DROPOUT), optimizer=optimizer)
    exact = at_the_start(config, torch.device("cpu"))
    trainer = at_the_start(config, device, dtype=dtype)
    before = weights(exact)

    assert_close(steps(trainer), steps(exact), tolerance)

    assert_moved_alike(before, weights(trainer), weights(exact), 10 * tolerance)


@pytest.fixture
def deterministic() -> Iterator[None]:
    """Let torch add up in a fixed order; what cannot do so raises an error."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("deterministic")
@pytest.mark.parametrize(
    ("attention", "dtype"), [("manual", "float32"), ("flash", "bfloat16"), ("flash", "float16")]
)
def test_a_resumed_run_ends_as_an_uninterrupted_one_where_sums_have_a_fixed_order(
    device: torch.device,
    config: RunConfig,
    dtype: Any,
    attention: Any,
    tmp_path: Path,
    assert_same_run: Callable[[Path, Path], None],
    signal_after: Callable[[int], None],
) -> None:
    training = replace(config.training, device=device.type, dtype=dtype, attention=attention)
    config = replace(config, training=training)
    start(config, tmp_path / "whole")

    signal_after(3)
    with pytest.raises(InterruptedRunError):
        start(config, tmp_path / "resumed")
    resume(tmp_path / "resumed")

    assert_same_run(tmp_path / "whole", tmp_path / "resumed")


@pytest.fixture
def group_of_one(device: torch.device) -> Iterator[None]:
    """A process group of this process alone."""
    is_gpu = device.type == "cuda"
    dist.init_process_group(
        "nccl" if is_gpu else "gloo",
        store=dist.HashStore(),
        rank=0,
        world_size=1,
        device_id=torch.device("cuda", torch.cuda.current_device()) if is_gpu else None,
    )
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_fsdp_in_one_process_takes_the_steps_of_an_unsharded_model(
    device: torch.device, config: RunConfig, dtype: Any, request: pytest.FixtureRequest
) -> None:
    plain = at_the_start(config, device, dtype=dtype)
    before = weights(plain)
    expected = steps(plain)

    request.getfixturevalue("group_of_one")
    sharded = at_the_start(config, device, dtype=dtype, parallel="fsdp")
    assert isinstance(sharded.parallel.model, FSDPModule)

    # With dropout. A GPU adds up in no fixed order.
    tolerance = 1e-5 if dtype == "float32" else 1e-2
    assert_close(steps(sharded), expected, tolerance)
    assert_moved_alike(before, weights(sharded), weights(plain), 10 * tolerance)


class Waits(TorchDispatchMode):
    """Raises where an operation on a CPU would, on a GPU, wait for its work."""

    names = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2")
    allowed = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func.overloadpacket.__name__
        indices = args[1] if name in ("index", "index_put", "index_put_") else []
        by_mask = any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices)
        if (name in self.names or by_mask) and not self.allowed:
            raise RuntimeError(f"{name} is a synchronizing operation")
        return func(*args, **kwargs or {})

    @contextmanager
    def allowing(self) -> Iterator[None]:
        self.allowed = True
        yield
        self.allowed = False


class WaitsOfGpu:
    """Raises where an operation waits for the GPU."""

    def __enter__(self) -> None:
        torch.cuda.set_sync_debug_mode("error")

    def __exit__(self, *_error: object) -> None:
        torch.cuda.set_sync_debug_mode("default")

    @contextmanager
    def allowing(self) -> Iterator[None]:
        torch.cuda.set_sync_debug_mode("default")
        yield
        torch.cuda.set_sync_debug_mode("error")


@pytest.fixture
def take_steps_without_waiting(
    device: torch.device, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Take steps in which only `devices.read` may wait; return how often it is called."""
    waits = WaitsOfGpu() if device.type == "cuda" else Waits()
    reads: list[Tensor] = []
    read = devices.read

    def counted(tensor: Tensor) -> list[float]:
        reads.append(tensor)
        with waits.allowing():
            return read(tensor)

    def take(kind: Any = "adamw", **training: Any) -> int:
        optimizer = replace(config.optimizer, kind=kind)
        trainer = at_the_start(replace(config, optimizer=optimizer), device, **training)
        # The ids are checked where that costs nothing: not on a GPU.
        monkeypatch.setattr("gpt2.model.gpt.can_read_without_sync", lambda device: False)
        with closing(trainer.batches):
            for _ in range(2):  # the first ones load kernels, and allocate
                trainer.take_step()
            monkeypatch.setattr(devices, "read", counted)
            with waits:
                trainer.take_step()
        return len(reads)

    return take


PROTOTYPE = pytest.mark.filterwarnings("ignore:Synchronization debug mode")  # torch's own


@PROTOTYPE
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"dtype": "bfloat16"},
        {"dtype": "float16"},  # its scaler looks for overflows on the device
        {"attention": "manual"},
        {"gradient_checkpointing": True},
        {"short_context": 4, "short_context_share": 1.0},
        {"kind": "muon", "dtype": "bfloat16"},
        {"kind": "normuon", "dtype": "bfloat16"},
    ],
    ids=str,
)
def test_a_step_waits_for_the_device_once_to_read_what_it_logs(
    take_steps_without_waiting: Callable[..., int], settings: dict[str, Any]
) -> None:
    assert take_steps_without_waiting(**settings) == 1


@PROTOTYPE
def test_a_step_that_waits_elsewhere_is_found(
    take_steps_without_waiting: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = Parallel.loss

    def read_loss(parallel: Parallel, rows: Tensor) -> Tensor:
        nats = loss(parallel, rows)
        nats.item()
        return nats

    monkeypatch.setattr(Parallel, "loss", read_loss)
    with pytest.raises(RuntimeError, match="synchronizing"):
        take_steps_without_waiting()
