"""Devices: which one runs, in which dtype, and how fast it could be.

Everything that differs between CPU, CUDA and MPS is here. CUDA was tried on one H100; MPS is
written by the documentation and untested on hardware.
"""

import ctypes
import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
import torch.profiler

from gpt2.config import Dtype
from gpt2.errors import ConfigError

DTYPES: dict[Dtype, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container, as it sees itself

CLEARLY_FASTER = 1.5  # times as fast as float32: then "auto" chooses bfloat16
MANY_TIMES = 3.0  # times as slow as float32: then a user who asks for it is warned
SECONDS_TO_COMPARE = 0.005  # at least one product of each kind is timed
SECONDS_OF_PEAK = 0.02  # a product that takes as long is large enough to show the peak

# The factors of a linear layer's products: of its output, its input's gradient, its weight's.
Layout = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
LAYOUTS: tuple[Layout, ...] = (
    lambda matrix: (matrix, matrix.t()),
    lambda matrix: (matrix, matrix),
    lambda matrix: (matrix.t(), matrix),
)

# Published dense tensor-core rates in bf16 (fp16 where there is no bf16), operations a second, by
# torch.cuda.get_device_name.
# Source: NVIDIA's data sheets.
PUBLISHED_PEAKS = {
    "NVIDIA B200": 2250e12,
    "NVIDIA H200": 989e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H100 PCIe": 756e12,
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA A100-PCIE-40GB": 312e12,
    "NVIDIA A100 80GB PCIe": 312e12,
    "NVIDIA A10": 125e12,
    "NVIDIA RTX A6000": 155e12,
    "NVIDIA RTX 6000 Ada Generation": 364e12,
    "Tesla V100-SXM2-16GB": 125e12,
    "Tesla V100-SXM2-32GB": 125e12,
    "Tesla T4": 65e12,
    "NVIDIA L40S": 362e12,
    "NVIDIA L4": 121e12,
    "NVIDIA GeForce RTX 4090": 165e12,
    "NVIDIA GeForce RTX 3090": 71e12,
}


def select_device(name: str = "auto") -> torch.device:
    """Return the device of that name, or the fastest there is for "auto".

    Raises:
        ConfigError: There is no such device here.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    here = [kind for kind, present in available.items() if present]
    if name == "auto":
        return torch.device(here[0])
    if name.split(":")[0] not in here:
        raise ConfigError(
            f"device must be auto or one of those here, {', '.join(here)}; got {name!r}"
        )
    try:
        return torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device must be a name such as cpu or cuda:0, got {name!r}") from None


def device_of_process(device: torch.device, local_rank: int) -> torch.device:
    """Return the device of one of several processes on this machine: each has its own GPU.

    Raises:
        ConfigError: There are fewer GPUs than processes.
    """
    if device.type != "cuda":
        return device
    if local_rank >= (here := torch.cuda.device_count()):
        raise ConfigError(
            f"each process needs its own GPU, got at least {local_rank + 1} processes and "
            f"{here} GPUs; start torchrun with --nproc-per-node {here}"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def number_from_environment(name: str, least: int, default: int | None = None) -> int:
    """Return the whole number of a variable by which launchers such as torchrun describe a process.

    Raises:
        ConfigError: It is no number, below `least`, or missing without a default.
    """
    text = os.environ.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.strip().isdecimal() or int(text) < least:
        raise ConfigError(
            f"the environment variable {name} must be a whole number, {least} or more, got "
            f"{text!r}; start the processes with torchrun, or unset it to train in one process"
        )
    return int(text)


def loss_scaler(device: torch.device, dtype: torch.dtype) -> torch.amp.GradScaler:
    """Return the scaler that keeps small float16 gradients above zero; idle in other dtypes."""
    return torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)


def select_dtype(name: Dtype, device: torch.device) -> torch.dtype:
    """Return the dtype of the matrix products; "auto" is bfloat16 where that is faster."""
    if name != "auto":
        return DTYPES[name]
    fast = device.type != "mps" and speed_beside_float32(torch.bfloat16, device) >= CLEARLY_FASTER
    return torch.bfloat16 if fast else torch.float32


def stored_dtype_here(stored: torch.dtype, device: torch.device) -> torch.dtype:
    """Return the dtype to run weights in: as stored, or float32 where that is far faster."""
    return torch.float32 if _is_slow(stored, device) else stored


def _is_slow(dtype: torch.dtype, device: torch.device) -> bool:
    measured = dtype != torch.float32 and device.type != "mps"
    return measured and speed_beside_float32(dtype, device) <= 1 / MANY_TIMES


def slow_dtype_warning(dtype: torch.dtype, device: torch.device) -> str | None:
    """Return a line of warning where products in `dtype` take many times as long as in float32."""
    if not _is_slow(dtype, device):
        return None
    name = str(dtype).removeprefix("torch.")
    times = 1 / speed_beside_float32(dtype, device)
    return (
        f"{name} products take {times:.0f} times as long as float32 ones on this "
        f"{device.type.upper()}; float32 is the fast choice here"
    )


@cache
def speed_beside_float32(dtype: torch.dtype, device: torch.device) -> float:
    """Return how many times as fast as in float32 a matrix product in `dtype` runs here.

    Measured once a process, in some milliseconds: a processor's feature flags are not enough, since
    virtual machines hide some and libraries ignore others. A small product of each kind runs in
    turn, and the best time of each counts. One thread computes it, as several would wait for each
    other on a busy machine.
    """
    size = 256 if device.type == "cpu" else 2048
    float32 = torch.ones(size, size, device=device)
    other = float32.to(dtype)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for _ in range(2):  # the first ones load kernels
            best = {matrix.dtype: _product_seconds(matrix, matrix) for matrix in (float32, other)}
        started = time.perf_counter()
        while time.perf_counter() < started + SECONDS_TO_COMPARE:
            for matrix in (float32, other):
                best[matrix.dtype] = min(best[matrix.dtype], _product_seconds(matrix, matrix))
    finally:
        torch.set_num_threads(threads)
    return best[torch.float32] / best[dtype]


def _product_seconds(left: torch.Tensor, right: torch.Tensor) -> float:
    synchronize(left.device)
    started = time.perf_counter()
    left @ right
    synchronize(left.device)
    return time.perf_counter() - started


def name_dtype(dtype: torch.dtype) -> Dtype:
    """Return the name of a dtype in the settings."""
    return next(name for name, known in DTYPES.items() if known == dtype)


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Return a context in which matrix products run in `dtype`; weights stay as they are."""
    context: AbstractContextManager[None] = torch.autocast(
        device.type, dtype, enabled=dtype != torch.float32
    )
    return context


def product_dtype(tensor: torch.Tensor) -> torch.dtype:
    """Return the dtype in which a matrix product of the tensor runs: autocast's, or its own."""
    kind = tensor.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else tensor.dtype


def full_precision(device: torch.device) -> AbstractContextManager[None]:
    """Return a context in which every operation runs in the dtype of its inputs."""
    context: AbstractContextManager[None] = torch.autocast(device.type, enabled=False)
    return context


def peak_flops(device: torch.device, dtype: torch.dtype) -> float | None:
    """Return the operations a second that a matrix product can reach: the denominator of MFU.

    On a GPU the published rate in bfloat16, None for a GPU not listed. On a CPU the best rate of
    products of square matrices, measured now (about a quarter of a second), in each layout that a
    linear layer has, forward and backward: without units for the dtype, one layout can be ten
    times as fast as another, and a small product faster than a large one.
    """
    if device.type == "cuda":
        return PUBLISHED_PEAKS.get(torch.cuda.get_device_name(device))
    if device.type != "cpu":
        return None
    return max(_peak_of_layout(dtype, layout) for layout in LAYOUTS)


def _peak_of_layout(dtype: torch.dtype, layout: Layout) -> float:
    """Return the best rate, in operations a second, of products in one layout."""
    best, sizes = 0.0, (256, 256, 512, 1024, 2048)  # the first product loads kernels
    # Larger and larger ones: where the processor lacks the dtype, 2048 takes half a minute.
    for size in sizes:
        factors = layout(torch.ones(size, size, dtype=dtype))
        seconds = _product_seconds(*factors)
        if seconds <= SECONDS_OF_PEAK:
            seconds = min(seconds, _product_seconds(*factors), _product_seconds(*factors))
        best = max(best, 2 * size**3 / max(seconds, 1e-9))
        if seconds > SECONDS_OF_PEAK and size > sizes[0]:
            break
    return best


def peak_memory(device: torch.device, work: Callable[[], object]) -> int | None:
    """Do the work, and return the most memory that its tensors took at once, in bytes.

    None on MPS, which has no record of it.
    """
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    if device.type != "cpu":
        work()
        return None
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # otherwise the profiler logs its start
    cpu = torch.profiler.ProfilerActivity.CPU
    with torch.profiler.profile(activities=[cpu], profile_memory=True) as profile:
        work()
    events: Any = profile.profiler.kineto_results.events()  # each allocation, and each release
    sizes = [event.nbytes() for event in events if event.name() == "[memory]"]
    return max(accumulate(sizes), default=0)


def memory(device: torch.device) -> int | None:
    """Return the bytes of memory that the device has, None where the system does not report it.

    Of a CPU's, each of several processes on the machine has its share.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if device.type == "cpu" and hasattr(os, "sysconf"):
        processes = number_from_environment("LOCAL_WORLD_SIZE", 1, default=1)
        installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return min(installed, _container_memory() or installed) // processes
    return None


def _container_memory() -> int | None:
    """Return the bytes that a container may have, None if there is no limit.

    Source: memory.max in "Control Group v2" of the Linux kernel's documentation.
    """
    with suppress(OSError, ValueError):  # elsewhere there is no such file; "max" is no limit
        return int(MEMORY_LIMIT.read_text(encoding="ascii"))
    return None


def synchronize(device: torch.device) -> None:
    """Return when all work under way there is done, as a clock needs it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def move(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return a tensor of the CPU on the device, without waiting for work under way on a GPU.

    Only from pinned memory is a copy to a GPU not waited for. torch keeps the pinned memory until
    the copy is done.
    """
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def read(tensor: torch.Tensor) -> list[float]:
    """Return the numbers of a tensor of one dimension; on a GPU this waits for work under way."""
    numbers: list[float] = tensor.tolist()
    return numbers


def has_fused_optimizers(device: torch.device) -> bool:
    """Return whether torch updates all parameters on the device in one kernel."""
    return device.type in ("cpu", "cuda")


def can_read_without_sync(device: torch.device) -> bool:
    """Return whether Python can look at a value there without waiting for work under way."""
    return device.type == "cpu"


def describe(device: torch.device) -> str:
    """Return the device's name and, for a CPU, its threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        name = torch.cpu.get_capabilities().get("cpu_name") or "CPU"
        return f"{name}, {torch.get_num_threads()} threads"
    return device.type.upper()


def make_training_fast() -> None:
    """Set the process up for fast training steps on a CPU; what else it does is as before.

    Numbers too small for full precision, as the softmax of a confident model has them, take a CPU
    many times as long as others; so they are rounded to zero. And see `keep_freed_memory`.
    """
    torch.set_flush_denormal(True)
    keep_freed_memory()


def keep_freed_memory() -> None:
    """Let the process keep the memory that it frees, where the C library is glibc.

    The passes of a model free and allocate the same large blocks again and again. Returned to the
    system and fetched anew, each of their pages faults, which takes up to half of a training step
    and a tenth of an evaluation.

    Source: mallopt(3): M_MMAP_MAX, M_TRIM_THRESHOLD.
    """
    trim_threshold, mmap_max = -1, -4
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(mmap_max, 0)
        library.mallopt(trim_threshold, 2**31 - 1)
