"""The flags that name a model, and say how it is to run."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpt2.config import AttentionBackend, Dtype

if TYPE_CHECKING:
    import torch

    from gpt2.files.pretrained import GPT2


@dataclass(frozen=True, kw_only=True)
class ModelName:
    """Which model."""

    model: str = "gpt2"
    """A released model: gpt2, gpt2-medium, gpt2-large or gpt2-xl; a run directory, for its newest
    checkpoint, or RUN/best; a model directory; or a name on the Hugging Face hub."""

    def open(self, dtype: Dtype = "auto", device: "torch.device | None" = None) -> "GPT2":
        """Open the model.

        Args:
            dtype: Of the weights; auto: as they are stored.
            device: Where to put it; the CPU if None.
        Raises:
            Gpt2Error: There is no such model.
        """
        # Imported after the flags are read, so that --help and a wrong flag need no torch.
        from gpt2 import devices
        from gpt2.files.pretrained import GPT2

        chosen = None if dtype == "auto" else devices.DTYPES[dtype]
        return GPT2.from_pretrained(self.model, dtype=chosen, device=device)

    def open_to_run(self, dtype: Dtype = "auto", device: "torch.device | None" = None) -> "GPT2":
        """Open the model in a dtype that is fast here, unless another is asked for.

        One that is many times slower than float32 is warned of.
        """
        from gpt2 import devices
        from gpt2.progress import log

        model = self.open(dtype, device)
        loaded = model.wpe.weight.dtype  # of a quantized model's other weights: float32
        if dtype == "auto":
            model.to(devices.stored_dtype_here(loaded, model.device))
        elif warning := devices.slow_dtype_warning(loaded, model.device):
            log(warning)
        return model


@dataclass(frozen=True, kw_only=True)
class ModelFlags(ModelName):
    """Which model, and how it is to run."""

    device: str = "auto"
    """cpu, cuda or mps; auto takes the fastest there is."""
    dtype: Dtype = "auto"
    """Of the weights; auto: as they are stored, or float32 where that is many times faster."""
    attention: AttentionBackend = "flash"
    """Attention backend of every block, or of attention-blocks."""
    attention_blocks: tuple[int, ...] | None = None
    """Blocks that get this backend, from 0 on, with commas or spaces between; all if not given, the
    others flash."""
    compile: bool = False
    """Compile the blocks with torch.compile: faster after a minute or so."""

    def load(self) -> "GPT2":
        """Open the model as the flags say.

        Raises:
            Gpt2Error: There is no such model, device or block.
        """
        from gpt2 import devices

        model = self.open_to_run(self.dtype, devices.select_device(self.device))
        model.set_attention(self.attention, self.attention_blocks)
        if self.compile:
            model.compile()
        return model
