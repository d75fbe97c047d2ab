"""Ranks that train one model: torchrun starts them, torch.distributed connects them.

On GPUs they communicate over NCCL, untested on hardware here, on CPUs over gloo. All take the same
steps in the same order; a value that decides what to do is agreed on first.
"""

import json
import re
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.distributed_c10d import PrefixStore, _set_pg_timeout
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.nn.parallel import DistributedDataParallel

from gpt2 import devices
from gpt2.config import Parallelism, TrainingConfig
from gpt2.errors import ConfigError
from gpt2.files.pretrained import GPT2
from gpt2.model.sharding import full_tensor
from gpt2.train.meeting import (
    LostProcessError,
    Member,
    connect,
    failing_together,
    gloo_address,
    meet,
    named,
    one_line,
    rank_and_count,
    require_same,
)
from gpt2.train.peers import Peers

# The group lives as long as the process. Otherwise the destructor of DistributedDataParallel, which
# outlives `destroy_process_group`, would free it: while holding the GIL, it would wait for a gloo
# thread that needs the GIL to release its last tensor, a deadlock.
_KEPT_TO_THE_END: list[dist.ProcessGroup | None] = []

# In which all ranks take part. One that waits longer hangs, though all are alive.
LONGEST_OPERATION = timedelta(minutes=30)


@dataclass(frozen=True)
class Processes:
    """The ranks of a run, and which of them this process is."""

    device: torch.device
    rank: int = 0  # of this process
    world_size: int = 1
    peers: Peers | None = field(default=None, compare=False)  # None where there is one process

    @property
    def is_rank_0(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

    @property
    def is_first_on_host(self) -> bool:
        """Whether this is the process that checks files for all on its host."""
        return self.world_size == 1 or devices.number_from_environment("LOCAL_RANK", 0) == 0

    def agree(self, facts: Callable[[], Mapping[str, str]]) -> None:
        """Make sure that all processes have the same facts, by name.

        Args:
            facts: Returns those of this process; called if there are others.
        Raises:
            DisagreementError: They differ.
        """
        if self.peers:
            texts = self.peers.gather(json.dumps(facts()))
            require_same(self.peers.members, [json.loads(text) for text in texts])

    def sum(self, value: float) -> float:
        """Return the sum of the processes' values."""
        return self._reduced(value, dist.ReduceOp.SUM)

    def max(self, value: float) -> float:
        """Return the largest of the processes' values."""
        return self._reduced(value, dist.ReduceOp.MAX)

    def broadcast(self, value: int) -> int:
        """Return rank 0's value."""
        return int(self._reduced(value if self.is_rank_0 else 0, dist.ReduceOp.SUM))

    def _reduced(self, value: float, operation: dist.ReduceOp.RedOpType) -> float:
        if self.world_size == 1:
            return value
        tensor = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.all_reduce(tensor, operation)
        return tensor.item()


@contextmanager
def joined(config: TrainingConfig, facts: Mapping[str, str]) -> Iterator[Processes]:
    """Join the ranks that torchrun started; without torchrun, this is rank 0 of world size 1.

    If one fails while the context lasts, all do, and say why; and none leaves it before the others.

    Args:
        config: The settings of the run.
        facts: What must be the same in all processes, by name.
    Raises:
        ConfigError: There is no such device, or not one for each rank.
        DisagreementError: The processes would not run the same.
        LostProcessError: Another rank has failed, or is lost.
    """
    with failing_together():
        rank, count = rank_and_count()
        device = _device(config.device, count)
    devices.make_training_fast()
    if count == 1:
        yield Processes(device)
        return
    address = gloo_address() if device.type == "cpu" else None
    own = Member(rank, socket.gethostname(), address, {**facts, "device": device.type})
    store, members = meet(own, count, config.timeout_seconds)
    peers = Peers(store, members, own, config.timeout_seconds)
    try:
        _connect_all(device, peers)
        yield Processes(device, rank, count, peers)
        peers.gather("done")
    except Exception as error:
        if _is_of_connection(error):
            with _ignoring_sigterm():
                lost = peers.lost(_what_broke(error))
            raise lost from error
        if not isinstance(error, LostProcessError):
            peers.report(error)
        raise
    finally:
        peers.leave()
    dist.destroy_process_group()


def _device(name: str, count: int) -> torch.device:
    """Return the device of this process of `count`."""
    device = devices.select_device(name)
    if count == 1:
        return device
    if device.type == "mps":
        raise ConfigError(
            f"several processes need device cpu or cuda, got {device.type} and {count} processes"
        )
    return devices.device_of_process(device, devices.number_from_environment("LOCAL_RANK", 0))


def _connect_all(device: torch.device, peers: Peers) -> None:
    """Connect each process with each, over NCCL or gloo.

    Raises:
        LostProcessError: Not all can be reached.
    """
    rank, count = peers.own.rank, len(peers.members)
    store = PrefixStore(peers.members[0].id, connect(rank, count, peers.limit))
    try:
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=store,
            rank=rank,
            world_size=count,
            timeout=timedelta(seconds=peers.limit),
        )
    except (RuntimeError, ValueError) as error:
        lost = LostProcessError(
            f"all {count} processes have met, but {named(peers.members, [rank])} could not connect "
            f"to each of the others: {_what_broke(error)}. Where a host has several networks, "
            "set GLOO_SOCKET_IFNAME, or NCCL_SOCKET_IFNAME, to the interface between the hosts"
        )
        peers.report(lost)
        raise lost from error
    # From here on, `peers` finds out whether the others are alive, however long a step takes.
    _set_pg_timeout(LONGEST_OPERATION, dist.group.WORLD)
    _KEPT_TO_THE_END.append(dist.group.WORLD)


@contextmanager
def _ignoring_sigterm() -> Iterator[None]:
    """Ignore SIGTERM, which torchrun sends as soon as a process on this host has ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _what_broke(error: Exception) -> str:
    """Return the beginning of torch's error, without the line of its source."""
    return re.sub(r"\[(enforce fail at )?/\S+\] |\. This .*", "", one_line(error))[:120]


def _is_of_connection(error: Exception) -> bool:
    """Return whether the connection to another process broke. With NCCL, none such is raised."""
    return isinstance(error, dist.DistError) or (
        isinstance(error, RuntimeError) and "gloo" in str(error)
    )


@dataclass(frozen=True)
class Parallel:
    """A model spread over the ranks of a run, which compute its loss and gradients together."""

    model: GPT2
    processes: Processes
    dtype: torch.dtype  # of the matrix products
    scaler: torch.amp.GradScaler  # of the loss; without effect unless the dtype is float16
    _loss: Callable[[Tensor, Tensor], Tensor]
    _gradient_sync: Callable[[bool], AbstractContextManager[None]]

    def loss(self, rows: Tensor) -> Tensor:  # (B, T + 1) -> ()
        """Return the mean loss of rows of tokens, in nats a token."""
        rows = devices.move(rows, self.model.device)
        with self.autocast():
            return self._loss(rows[:, :-1], rows[:, 1:])

    def autocast(self) -> AbstractContextManager[None]:
        """Return a context in which matrix products run in the dtype of the run."""
        return devices.autocast(self.model.device, self.dtype)

    def gradient_sync(self, *, is_last: bool) -> AbstractContextManager[None]:
        """Return a context for the passes of a micro-batch.

        Args:
            is_last: Whether it is the step's last, whose backward pass averages the gradients of
                all micro-batches over the ranks.
        """
        return self._gradient_sync(is_last)


def parallelize(
    model: GPT2, kind: Parallelism, processes: Processes, dtype: torch.dtype
) -> Parallel:
    """Spread a model over the processes.

    Args:
        model: On the device of this process, with the same weights in each.
        kind: "ddp", a whole model in each; "fsdp", a share of every parameter in each.
        processes: The processes of the run.
        dtype: Of the matrix products.
    Raises:
        ConfigError: float16 with "fsdp".
    """
    scaler = devices.loss_scaler(processes.device, dtype)
    parallel = partial(Parallel, model, processes, dtype, scaler)
    if processes.world_size == 1 and not dist.is_initialized():  # a group may be of one
        return parallel(model.loss, lambda is_last: nullcontext())
    if kind == "fsdp":
        if dtype == torch.float16:  # each process would find other overflows, and scale by them
            raise ConfigError("training.parallel fsdp needs dtype bfloat16 or float32, got float16")
        mesh = init_device_mesh(processes.device.type, (processes.world_size,))
        for block in model.h:
            fully_shard(block, mesh=mesh)
        sharded = fully_shard(model, mesh=mesh)
        register_fsdp_forward_method(model, "loss")
        return parallel(model.loss, lambda is_last: _sharded_sync(sharded, is_last))
    with warnings.catch_warnings():  # of a new name for broadcast_buffers, which torch 2.10 lacks
        warnings.simplefilter("ignore", FutureWarning)
        replica = DistributedDataParallel(
            _Loss(model), gradient_as_bucket_view=True, broadcast_buffers=False
        )

    def gradient_sync(is_last: bool) -> AbstractContextManager[None]:
        return nullcontext() if is_last else replica.no_sync()

    return parallel(replica, gradient_sync)


def gather_outside_blocks(model: GPT2) -> None:
    """Make the embeddings and the last norm of a sharded model whole, for use outside its forward.

    They stay so until the next backward pass, as after a forward pass.
    """
    if isinstance(model, FSDPModule):
        model.unshard()


def clip_gradients(model: nn.Module, largest: float) -> Tensor:  # -> ()
    """Scale the gradients down to a global norm of at most `largest`, and return what it was."""
    return full_tensor(nn.utils.clip_grad_norm_(model.parameters(), largest))


class _Loss(nn.Module):
    """The loss as the forward pass, which is what DistributedDataParallel watches."""

    def __init__(self, model: GPT2) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        return self.model.loss(ids, targets)


@contextmanager
def _sharded_sync(model: FSDPModule, is_last: bool) -> Iterator[None]:
    model.set_requires_gradient_sync(is_last)
    yield
