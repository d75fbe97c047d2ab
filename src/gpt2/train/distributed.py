"""Ranks that train one model: torchrun starts them, torch.distributed connects them.

On GPUs they communicate over NCCL, untested on hardware here, on CPUs over gloo. All take the same
steps in the same order; a value that decides what to do is agreed on first.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.nn.parallel import DistributedDataParallel

from gpt2 import devices
from gpt2.config import Parallelism
from gpt2.errors import ConfigError, Gpt2Error
from gpt2.files.pretrained import GPT2
from gpt2.model.sharding import full_tensor

# The group lives as long as the process. Otherwise the destructor of DistributedDataParallel, which
# outlives `destroy_process_group`, would free it: while holding the GIL, it would wait for a gloo
# thread that needs the GIL to release its last tensor, a deadlock.
_KEPT_TO_THE_END: list[dist.ProcessGroup | None] = []

NEEDED = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # with several ranks


class LostProcessError(Gpt2Error):
    """Another rank of the run has ended, and so does this one."""


@dataclass(frozen=True)
class Processes:
    """The ranks of a run, and which of them this process is."""

    device: torch.device
    rank: int = 0  # of this process
    world_size: int = 1

    @property
    def is_rank_0(self) -> bool:
        """Whether this is the process that writes files and shows progress."""
        return self.rank == 0

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
def joined(device_name: str) -> Iterator[Processes]:
    """Join the ranks that torchrun started; without torchrun, this is rank 0 of world size 1.

    Raises:
        ConfigError: There is no such device, or not one for each rank.
        LostProcessError: Another rank ended early. With gloo only: NCCL ends the process itself.
    """
    device = devices.select_device(device_name)
    rank, count = _rank_and_count()
    if count == 1:
        devices.make_training_fast()
        yield Processes(device)
        return
    if device.type == "mps":
        raise ConfigError(
            f"several processes need device cpu or cuda, got {device.type} and {count} processes"
        )
    device = devices.device_of_process(device, devices.number_from_environment("LOCAL_RANK", 0))
    devices.make_training_fast()
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    except (RuntimeError, ValueError) as error:
        raise LostProcessError(
            f"process {rank} could not join the others of the {count} at "
            f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}: {_one_line(error)}"
        ) from error
    _KEPT_TO_THE_END.append(dist.group.WORLD)
    try:
        yield Processes(device, rank, count)
    except RuntimeError as error:
        if not isinstance(error, dist.DistBackendError) and "gloo" not in str(error):
            raise
        raise LostProcessError(
            f"process {rank} lost the connection to another of the {count}, which has ended, so it "
            "ends, too. Resume the run from its newest checkpoint with --resume "
            f"({_one_line(error)})"
        ) from error
    dist.destroy_process_group()


def _rank_and_count() -> tuple[int, int]:
    """Return this process's rank and the world size, as the launcher gives them.

    Raises:
        ConfigError: They are no such numbers, or what the processes need to meet is missing.
    """
    if "WORLD_SIZE" not in os.environ:
        return 0, 1
    count = devices.number_from_environment("WORLD_SIZE", 1)
    if count > 1:
        if missing := [name for name in NEEDED if not os.environ.get(name)]:
            raise ConfigError(
                f"WORLD_SIZE is {count}, but {' and '.join(missing)} must be set, too; start the "
                "processes with torchrun"
            )
        devices.number_from_environment("MASTER_PORT", 1)
    rank = devices.number_from_environment("RANK", 0, default=0)
    if rank >= count:
        raise ConfigError(
            f"RANK must be below WORLD_SIZE, {count}, got {rank}; start the processes with torchrun"
        )
    return rank, count


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


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
