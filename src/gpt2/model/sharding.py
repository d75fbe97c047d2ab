"""Tensors that several processes share (FSDP): the whole one, and this process's part of it."""

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def full_tensor(tensor: Tensor) -> Tensor:
    """Return a tensor without its graph, put together where processes share it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor.detach()


def shard_like(parameter: Tensor, tensor: Tensor) -> Tensor:
    """Return this process's share of a tensor where the parameter is shared; a scalar is not."""
    if not isinstance(parameter, DTensor) or tensor.ndim == 0:
        return tensor
    tensor = tensor.to(parameter.device)
    mesh, placements = parameter.device_mesh, parameter.placements
    return distribute_tensor(tensor, mesh, placements, src_data_rank=None)
