"""Which runner computes a model: the compiled pass on a CPU where it can, the network elsewhere."""

from typing import Literal, get_args

import torch

from gpt2.errors import ConfigError
from gpt2.files.pretrained import GPT2
from gpt2.generation.runner import Runner
from gpt2.generation.torch_runner import TorchRunner
from gpt2.progress import log

Precision = Literal["auto", "float32", "bfloat16", "int8", "int4"]


def make_runner(model: GPT2, precision: Precision, slots: int, threads: int | None) -> Runner:
    """Return the fastest runner of a model.

    Args:
        model: On the device where it is to run.
        precision: Of the weights that the compiled pass reads. auto: the fastest that has them
            exactly. int8 and int4 quantize them. Products of floats are in float32.
        slots: Texts at the same time.
        threads: Of a CPU; as many as torch uses if None.
    Raises:
        ConfigError: The precision is unknown, or this model cannot run in it.
    """
    if precision not in get_args(Precision):
        known = ", ".join(get_args(Precision))
        raise ConfigError(f"precision must be one of {known}, got {precision!r}")
    if reason := _reason_for_network(model):
        if precision in ("auto", _name(model.wpe.weight.dtype)):
            return TorchRunner(model, slots)
        raise ConfigError(f"{precision} weights need the compiled pass, which is for {reason}")
    from gpt2.generation.cpu.runner import CpuRunner  # compiles, or loads what was compiled

    return CpuRunner(model, _exact(model) if precision == "auto" else precision, threads)


def _reason_for_network(model: GPT2) -> str | None:
    """Return what the compiled pass wants and the model is not; None if it is all of it."""
    weight = model.wpe.weight
    if model.device.type != "cpu":
        return f"a CPU, and the model is on {model.device}"
    if weight.dtype == torch.float64:
        return "float32 and below, and the model has float64"
    if any(block.attn.backend != "flash" for block in model.blocks):
        return "flash attention, and the model has another"
    if any(block._compiled_call_impl for block in model.blocks):
        return "models that torch.compile has not compiled"
    return None
