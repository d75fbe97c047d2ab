"""GPT-2 from scratch in PyTorch: train it, load the released weights, generate, evaluate."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gpt2.config import GenerationConfig, GPT2Config, RunConfig
from gpt2.errors import Gpt2Error

if TYPE_CHECKING:
    from gpt2.files.pretrained import GPT2
    from gpt2.generation.engine import Sample, generate

__all__ = ["GPT2", "GPT2Config", "GenerationConfig", "Gpt2Error", "RunConfig", "Sample", "generate"]

# Imported when first asked for: they need torch, which takes longer to load than `gpt2 --help` may.
_LATE = {
    "GPT2": "gpt2.files.pretrained",
    "Sample": "gpt2.generation.engine",
    "generate": "gpt2.generation.engine",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'gpt2' has no attribute {name!r}")
    return getattr(import_module(_LATE[name]), name)
