"""The flags that name a model, and say how it is to run."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gpt2.config import AttentionBackend, Dtype
from gpt2.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from gpt2.files.pretrained import GPT2
    from gpt2.generation.engine import Engine
    from gpt2.generation.runners import Precision

EngineDtype = Literal["auto", "float32", "bfloat16", "float16", "int8", "int4"]


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
class NetworkFlags(ModelName):
    """Which model, and how its network is to run."""

    device: str = "auto"
    """cpu, cuda or mps; auto takes the fastest there is."""
    attention: AttentionBackend = "flash"
    """Attention backend of every block, or of attention-blocks."""
    attention_blocks: tuple[int, ...] | None = None
    """Blocks that get this backend, from 0 on, with commas or spaces between; all if not given, the
    others flash."""
    compile: bool = False
    """Compile the blocks with torch.compile: faster after a minute or so."""

    def prepare(self, model: "GPT2") -> "GPT2":
        """Set a model's attention, and compile it if that is asked for.

        Raises:
            ConfigError: There is no such block.
        """
        model.set_attention(self.attention, self.attention_blocks)
        if self.compile:
            model.compile()
        return model


@dataclass(frozen=True, kw_only=True)
class ModelFlags(NetworkFlags):
    """Which model, and how it is to run."""

    dtype: Dtype = "auto"
    """Of the weights; auto: as they are stored, or float32 where that is many times faster."""

    def load(self) -> "GPT2":
        """Open the model as the flags say.

        Raises:
            Gpt2Error: There is no such model, device or block.
        """
        from gpt2 import devices

        device = devices.select_device(self.device)
        return self.prepare(self.open_to_run(self.dtype, device))


@dataclass(frozen=True, kw_only=True)
class EngineFlags(NetworkFlags):
    """Which model, and how the engine of `gpt2.generation` is to run it."""

    dtype: EngineDtype = "auto"
    """Of the weights. auto: the fastest that has them exactly; int8 and int4 quantize them, on a
    CPU alone, for more speed and a little less quality."""
    threads: int | None = None
    """Of a CPU; a thread a core if not given."""

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads must be at least 1, got {self.threads}")

    def load(self) -> "GPT2":
        """Open the model as the flags say.

        For the pass compiled for a CPU the weights stay as they are stored: the engine lays them
        out in the precision that is asked for.

        Raises:
            Gpt2Error: There is no such model, device or block.
        """
        import torch

        from gpt2 import devices

        if self.threads is not None:
            torch.set_num_threads(self.threads)
        device = devices.select_device(self.device)
        if self._runs_network(device):
            return self.prepare(self.open_to_run(_torch_dtype(self.dtype), device))
        return self.prepare(self.open("float16" if self.dtype == "float16" else "auto", device))

    def engine(self, model: "GPT2", most_texts: int, memory: int | None = None) -> "Engine":
        """Return an engine for a model that `load` has opened.

        Args:
            model: Whose weights it takes.
            most_texts: That are written at the same time.
            memory: Bytes of all KV caches at the most; if None enough for most_texts.
        Raises:
            ConfigError: The model cannot run in this dtype.
        """
        from gpt2.generation.engine import Engine

        precision: Precision = "auto"  # as the model is, or the network is opened
        runs_network = self._runs_network(model.device) and _torch_dtype(self.dtype) != "auto"
        if self.dtype != "float16" and not runs_network:
            precision = self.dtype
        return Engine(
            model,
            precision=precision,
            memory=memory,
            most_texts=most_texts,
            threads=self.threads,
            take=True,
        )

    def _runs_network(self, device: "torch.device") -> bool:
        """Whether the engine runs the network itself, not the pass compiled for a CPU."""
        return device.type != "cpu" or self.attention != "flash" or self.compile


def _torch_dtype(dtype: EngineDtype) -> Dtype:
    return "auto" if dtype == "int8" or dtype == "int4" else dtype
