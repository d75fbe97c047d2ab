"""Which runner computes a model: the compiled pass on a CPU where it can, the network elsewhere."""

import os
from typing import Literal, get_args

import torch

from gpt2.errors import ConfigError
from gpt2.files.pretrained import GPT2
from gpt2.generation.runner import Runner
from gpt2.generation.torch_runner import TorchRunner, slot_bytes
from gpt2.progress import log

Precision = Literal["auto", "float32", "bfloat16", "int8", "int4"]


def make_runner(
    model: GPT2,
    precision: Precision,
    slots: int,
    threads: int | None = None,
    *,
    memory: int | None = None,
    take: bool = False,
) -> Runner:
    """Return the fastest runner of a model.

    Args:
        model: On the device where it is to run.
        precision: Of the weights that the compiled pass reads. auto: the fastest that has them
            exactly. int8 and int4 quantize them, and round what they are multiplied with to 16
            bits; all else is float32.
        slots: Texts at the same time.
        threads: Of a CPU; as many as torch uses if None.
        memory: See `Engine`.
        take: See `Engine`.
    Raises:
        ConfigError: The precision is unknown, or this model cannot run in it; there are too many
            threads, or the memory does not suffice for a text.
    """
    most_threads = 4 * (os.cpu_count() or 1)
    if threads is not None and not 1 <= threads <= most_threads:
        raise ConfigError(f"threads must be 1 to {most_threads} here, got {threads}")
    if precision not in get_args(Precision):
        known = ", ".join(get_args(Precision))
        raise ConfigError(f"precision must be one of {known}, got {precision!r}")
    exact = _exact(model)
    if model.quantization and precision not in ("auto", exact):
        raise ConfigError(f"precision must be auto or {exact}, as the model is, got {precision!r}")
    if reason := _reason_for_network(model):
        if precision in ("auto", str(model.wpe.weight.dtype).removeprefix("torch.")):
            return _network(model, slots, memory)
        raise ConfigError(f"{precision} weights are for {reason}")
    try:
        # Imported here: it loads Numba, which not every processor or installation has.
        from gpt2.generation.cpu.runner import CpuRunner, compile_pass

        compile_pass()
    except Exception as error:  # whatever Numba raises where LLVM does not know the processor
        reason = str(error).partition("\n")[0]
        if precision not in ("auto", exact):
            raise ConfigError(
                f"{precision} needs a pass that Numba compiles, which fails here: {reason}"
            ) from None
        log(f"Numba cannot compile the pass here, so torch computes it, more slowly: {reason}")
        return _network(model, slots, memory)
    return CpuRunner(model, exact if precision == "auto" else precision, threads, take=take)


def _network(model: GPT2, slots: int, memory: int | None) -> TorchRunner:
    """Return a runner with as many slots as the memory allows, all of which it takes at once."""
    size = slot_bytes(model)
    if memory is not None and memory < size:
        raise ConfigError(
            f"memory must be at least {size:,} bytes, for one text of n_positions, got {memory:,}"
        )
    return TorchRunner(model, slots if memory is None else min(slots, memory // size))


def _reason_for_network(model: GPT2) -> str | None:
    """Say why the compiled pass cannot compute this model; None if it can."""
    blocks = [model.block(index) for index in range(model.config.n_layer)]
    if model.device.type != "cpu":
        return f"a CPU, and the model is on {model.device}"
    if model.wpe.weight.dtype == torch.float64:
        return "float32 and below, and the model has float64"
    if any(block.attn.backend != "flash" for block in blocks):
        return "flash attention in all blocks, and the model has another"
    if any(block._compiled_call_impl for block in blocks):
        return "the model as it is, and torch.compile has compiled it"
    return None


@torch.inference_mode()
def _exact(model: GPT2) -> Precision:
    """Return the least precision that has the matrices as they are."""
    if model.quantization:
        return model.quantization
    matrices = (weight for weight in model.parameters() if weight.ndim == 2)
    return "bfloat16" if all(map(_fits_bfloat16, matrices)) else "float32"


def _fits_bfloat16(weight: torch.Tensor) -> bool:
    """Return whether bfloat16 has all of a matrix's numbers: the first half of a float32."""
    if weight.dtype != torch.float32:
        return weight.dtype == torch.bfloat16
    bits = weight.contiguous().view(torch.int32)
    return not any((row & 0xFFFF).any() for row in bits.split(256))  # most differ in the first
