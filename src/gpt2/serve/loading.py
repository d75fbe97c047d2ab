"""How is a model opened to be served? Found, checked, and warmed up."""

import gc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import torch

from gpt2 import devices
from gpt2.config import GenerationConfig, ServeConfig
from gpt2.errors import NotFiniteError
from gpt2.files.names import locate
from gpt2.files.pretrained import GPT2
from gpt2.generation.engine import Engine
from gpt2.progress import log
from llm_tokenizer import Tokenizer
from llm_tokenizer.two_paths import WORTH_LOADING

MEMORY_SHARE = 4  # KV caches take at most one part in so many of the memory


class Opener(Protocol):
    """Opens a model, and makes its engine."""

    def load(self) -> GPT2:
        """Open the model."""

    def engine(self, model: GPT2, most_texts: int, memory: int | None = None) -> Engine:
        """Make the engine, which takes the model's weights."""


class OpenModel(NamedTuple):
    """A model with its engine."""

    directory: Path
    model: GPT2
    engine: Engine


def open_models(
    paths: Mapping[str, str], opener: Callable[[str], Opener], config: ServeConfig
) -> dict[str, OpenModel]:
    """Open models, ready to write texts.

    Args:
        paths: Of each model, by the name that requests ask for; see `locate`.
        opener: Returns what opens a directory.
        config: How many texts, and how much memory.
    Raises:
        Gpt2Error: One of them cannot be opened, or is of no use.
    """
    opened = {}
    for name, path in paths.items():
        directory = locate(path).resolve()  # a run gets new checkpoints while it is served
        log(f"loading {name} from {directory}")
        how = opener(str(directory))
        model = how.load()
        check_usable(name, model)
        engine = how.engine(model, config.batch, cache_bytes(config, len(paths), model.device))
        warm_up(engine)
        load_whole(model.require_tokenizer())
        opened[name] = OpenModel(directory, model, engine)
    # What is there now stays. To look through it again and again while the JSON of a large body is
    # read would hold up all others for seconds.
    gc.collect()
    gc.freeze()
    return opened


def cache_bytes(config: ServeConfig, models: int, device: torch.device) -> int | None:
    """Return what the KV caches of one of several models may take; None: what its batch needs."""
    if config.cache_gb is not None:
        return int(config.cache_gb * 1e9 / models)
    memory = devices.memory(device)
    return None if memory is None else memory // MEMORY_SHARE // models


def check_usable(name: str, model: GPT2) -> None:
    """Check that a model can write texts.

    Raises:
        NotFiniteError: Not all weights are finite.
        InputError: It has no tokenizer.
    """
    model.require_tokenizer()
    for key, value in model.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise NotFiniteError(
                f"the weights of {name} must be finite, and {key} has others: its training has "
                "diverged; serve an earlier checkpoint"
            )


def warm_up(engine: Engine) -> None:
    """Write two tokens, so that what is compiled at the first use is compiled before requests."""
    engine.submit([0], GenerationConfig(max_new_tokens=2, temperature=0, ignore_end=True))
    while engine.busy:
        engine.step()


def load_whole(tokenizer: Tokenizer) -> None:
    """Encode and decode a text so long that the tokenizer loads, or compiles, its fast path.

    It does so sooner or later, and nobody else would be served meanwhile: Python's lock is held.
    """
    tokenizer.decode(tokenizer.encode_ordinary("a " * WORTH_LOADING))
