"""GPT-2 from scratch in PyTorch: train it, load the released weights, generate, evaluate."""

TYPE_CHECKING = False  # a type checker takes it for True; importing typing takes a while
if TYPE_CHECKING:
    from gpt2.config import GenerationConfig, GPT2Config, RunConfig
    from gpt2.errors import Gpt2Error
    from gpt2.files.pretrained import GPT2
    from gpt2.generation.engine import Engine
    from gpt2.generation.generate import Sample, generate, stream

__all__ = [
    "GPT2",
    "Engine",
    "GPT2Config",
    "GenerationConfig",
    "Gpt2Error",
    "RunConfig",
    "Sample",
    "generate",
    "stream",
]

# Imported when first asked for: torch takes longer to load than `gpt2 --help` may, and a Ctrl-C
# while this module is imported is caught by nobody.
_HOMES = {
    "GPT2": "gpt2.files.pretrained",
    "Engine": "gpt2.generation.engine",
    "GPT2Config": "gpt2.config",
    "GenerationConfig": "gpt2.config",
    "Gpt2Error": "gpt2.errors",
    "RunConfig": "gpt2.config",
    "Sample": "gpt2.generation.generate",
    "generate": "gpt2.generation.generate",
    "stream": "gpt2.generation.generate",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'gpt2' has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(_HOMES[name]), name)
    return found
