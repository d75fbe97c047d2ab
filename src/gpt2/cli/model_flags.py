"""Opening a model: for every verb, and by the flags of those that run it."""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpt2.config import AttentionBackend, WeightDtype

if TYPE_CHECKING:
    import torch

    from gpt2.pretrained import GPT2


@dataclass(frozen=True, kw_only=True)
class ModelFlags:
    """Which model, and how it is to run."""

    model: str = "gpt2"
    """A model directory, a run directory, or a name on the Hugging Face hub."""
    device: str = "auto"
    """cpu, cuda or mps; auto takes the fastest there is."""
    dtype: WeightDtype = "auto"
    """Of the weights; auto: as they are stored, or float32 where that is many times faster."""
    attention: AttentionBackend = "flash"
    """Attention backend of every block, or of attention-blocks."""
    attention_blocks: tuple[int, ...] | None = None
    """Blocks that get this backend, the first being 0; all if not given, the others flash."""
    compile: bool = False
    """Compile the blocks with torch.compile: faster after a minute or so."""

    def load(self) -> "GPT2":
        """Open the model.

        Raises:
            Gpt2Error: There is no such model, device or block.
        """
        # Imported after the flags are read, so that --help and a wrong flag need no torch.
        from gpt2 import devices

        model = open_to_run(self.model, self.dtype, devices.select_device(self.device))
        model.set_attention(self.attention, self.attention_blocks)
        if self.compile:
            model.compile()
        return model


def open_to_run(
    name: str, dtype: WeightDtype = "auto", device: "torch.device | None" = None
) -> "GPT2":
    """Open a model whose weights are of a dtype that is fast here, unless another is asked for.

    One that is many times slower than float32 is warned of.
    """
    from gpt2 import devices

    model = open_model(name, dtype, device)
    loaded = model.wte.weight.dtype
    if dtype == "auto":
        model.to(devices.stored_dtype_here(loaded, model.device))
    elif warning := devices.slow_arithmetic(loaded, model.device):
        print(warning, file=sys.stderr)
    return model


def open_model(
    name: str, dtype: WeightDtype = "auto", device: "torch.device | None" = None
) -> "GPT2":
    """Open a model directory, the newest checkpoint of a run, or a model on the hub."""
    import torch

    from gpt2 import checkpoint
    from gpt2.pretrained import GPT2

    return GPT2.from_pretrained(
        checkpoint.model_directory(name),
        dtype=None if dtype == "auto" else getattr(torch, dtype),
        device=device,
    )
