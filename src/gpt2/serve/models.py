"""Which models are served? Each by its name, with the thread that writes its texts."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock

import torch

from gpt2.config import ServeConfig
from gpt2.files.pretrained import GPT2
from gpt2.generation.engine import Engine
from gpt2.serve.errors import ApiError
from gpt2.serve.worker import Worker


@dataclass
class ServedModel:
    """A model that is served."""

    name: str  # that requests ask for
    path: str  # as --model has it
    model: GPT2  # its tokenizer and its sizes; the engine may have taken its weights
    worker: Worker
    created: int  # seconds since 1970

    def __post_init__(self) -> None:
        self._lock = Lock()

    @property
    def most_tokens(self) -> int:
        """Tokens of a prompt and its completion together."""
        return self.model.config.n_positions

    def whole(self) -> GPT2:
        """Return the model in float32 with all its weights, to look into; the first call opens it.

        It may be called by any thread.
        """
        with self._lock:
            return self._whole

    @cached_property
    def _whole(self) -> GPT2:
        return GPT2.from_pretrained(self.path, dtype=torch.float32)


class ServedModels:
    """The models of a server, by name; the first is taken where none is asked for."""

    def __init__(self, models: Sequence[ServedModel]) -> None:
        self._by_name = {model.name: model for model in models}

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._by_name.values())

    def find(self, name: str | None) -> ServedModel:
        """Return a model.

        Raises:
            ApiError: There is none of that name: 404.
        """
        if name is None:
            return next(iter(self._by_name.values()))
        if name not in self._by_name:
            known = ", ".join(self._by_name)
            raise ApiError(
                404, f"no model {name!r:.80}; this server has {known}", code="model_not_found"
            )
        return self._by_name[name]


def serve_model(
    name: str, path: str, engine: Engine, model: GPT2, config: ServeConfig
) -> ServedModel:
    """Return a model that is ready to be served by the running event loop."""
    worker = Worker(engine, config.batch + config.queue, asyncio.get_running_loop())
    return ServedModel(name, path, model, worker, int(time.time()))
