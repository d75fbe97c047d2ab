"""Which models are served? Each by its name, with the thread that writes its texts."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock

import torch

from gpt2.config import ServeConfig
from gpt2.errors import CheckpointError
from gpt2.files.pretrained import GPT2
from gpt2.files.run_directory import run_of
from gpt2.generation.engine import Engine
from gpt2.serve.errors import ApiError
from gpt2.serve.worker import Worker, Writing


@dataclass
class ServedModel:
    """A model that is served."""

    name: str  # that requests ask for
    directory: Path  # its files
    model: GPT2  # its tokenizer and its sizes; the engine may have taken its weights
    worker: Worker
    created: int  # seconds since 1970

    def __post_init__(self) -> None:
        self._lock = Lock()

    @property
    def most_tokens(self) -> int:
        """Tokens of a prompt and its completion together."""
        return self.model.config.n_positions

    @cached_property
    def most_characters(self) -> int:
        """Characters that a text which fits may have: each takes at least a byte of a token."""
        tokens = self.model.require_tokenizer().vocabulary.bytes_of_id.values()
        return self.most_tokens * max(map(len, tokens))

    @property
    def run(self) -> Path | None:
        """The run directory that it is a checkpoint of, None if of none."""
        return run_of(self.directory)

    def whole(self) -> GPT2:
        """Return the model in float32 with all its weights, to look into; the first call opens it.

        It may be called by any thread.

        Raises:
            ApiError: Its files are no longer there: 503.
        """
        with self._lock:
            try:
                return self._whole
            except CheckpointError:
                raise ApiError(
                    503,
                    f"the files of {self.name} are no longer where they were when the server "
                    "started, as when training goes on; restart the server",
                ) from None

    @cached_property
    def _whole(self) -> GPT2:
        return GPT2.from_pretrained(self.directory, dtype=torch.float32)


class ServedModels:
    """The models of a server, by name; the first is taken where none is asked for."""

    def __init__(self, models: Sequence[ServedModel]) -> None:
        self._by_name = {model.name: model for model in models}

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._by_name.values())

    def find(self, name: str | None) -> ServedModel:
        """Return a model.

        Raises:
            ApiError: There is none of that name: 404.
        """
        if name is None:
            return next(iter(self))
        if name not in self._by_name:
            known = ", ".join(self._by_name)
            raise ApiError(
                404, f"no model {name!r:.80}; this server has {known}", code="model_not_found"
            )
        return self._by_name[name]

    @property
    def runs(self) -> list[Path]:
        """The run directories that the models are checkpoints of."""
        return list(dict.fromkeys(model.run for model in self if model.run))

    def end_texts(self) -> None:
        """End all texts that are being written or wait."""
        for model in self:
            model.worker.cancel_all()

    def stop(self) -> None:
        """End the threads that write texts."""
        for model in self:
            model.worker.stop()


def serve_model(
    name: str,
    directory: Path,
    model: GPT2,
    engine: Engine,
    config: ServeConfig,
    count_text: Callable[[str, Writing], None],
) -> ServedModel:
    """Return a model that is ready to be served by the running event loop.

    Args:
        name: That requests ask for.
        directory: Its files.
        model: Its tokenizer and its sizes.
        engine: Which has its weights.
        config: How many texts there may be.
        count_text: Called with the name and each text that has ended.
    """

    def note_end(writing: Writing) -> None:
        count_text(name, writing)

    loop = asyncio.get_running_loop()
    worker = Worker(engine, config.batch + config.queue, loop, note_end)
    return ServedModel(name, directory, model, worker, int(time.time()))
