"""A server of a tiny model on a free port of the loopback, in a thread of the tests' process."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

import pytest
import torch

from gpt2.config import GPT2Config, ServeConfig
from gpt2.files.pretrained import GPT2
from gpt2.generation.engine import Engine
from gpt2.serve.app import make_app
from gpt2.serve.loading import warm_up
from gpt2.serve.models import ServedModels, serve_model
from gpt2.serve.server import Loaded, Server
from llm_tokenizer import Tokenizer

MOST_SECONDS = 30  # for a server to start or to end


@dataclass(frozen=True)
class Served:
    """A server that runs."""

    url: str  # such as http://127.0.0.1:40123
    models: ServedModels
    server: Server


ServeWith = Callable[..., Served]


def small_model(tokenizer: Tokenizer, n_positions: int = 24) -> GPT2:
    """The `model` of tests/conftest.py, with any number of positions."""
    config = GPT2Config(vocab_size=300, n_positions=n_positions, n_embd=20, n_layer=3, n_head=4)
    model = GPT2(config, tokenizer=tokenizer, seed=1).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4.0)
    return model


@contextmanager
def serving(models: dict[str, GPT2], config: ServeConfig) -> Iterator[Served]:
    """Serve models while the context lasts."""
    started: Future[Served] = Future()
    thread = Thread(target=lambda: asyncio.run(_serve(models, config, started)), daemon=True)
    thread.start()
    served = started.result(MOST_SECONDS)
    try:
        yield served
    finally:
        served.server.stop()
        thread.join(MOST_SECONDS)
        assert not thread.is_alive()


async def _serve(models: dict[str, GPT2], config: ServeConfig, started: Future[Served]) -> None:
    server = Server(config)
    served: list[ServedModels] = []

    async def load() -> Loaded:
        engines = {name: Engine(model, most_texts=config.batch) for name, model in models.items()}
        for engine in engines.values():
            warm_up(engine)
        count = server.metrics.count_text
        known = ServedModels(
            [
                serve_model(name, Path(name), model, engines[name], config, count)
                for name, model in models.items()
            ]
        )
        served.append(known)
        app = make_app(known, server.metrics, config)
        return Loaded(app, known.end_texts, known.stop)

    def announce(url: str) -> None:
        started.set_result(Served(url, served[0], server))

    try:
        await server.run_until_stopped(load, announce)
    except BaseException as error:
        if not started.done():
            started.set_exception(error)
        raise


@pytest.fixture(scope="session")
def served(tokenizer: Tokenizer) -> Iterator[Served]:
    """A server of the tiny model, named "tiny", that all tests share."""
    with serving({"tiny": small_model(tokenizer)}, ServeConfig(port=0, grace=1.0)) as served:
        yield served


@pytest.fixture
def serve_with(tokenizer: Tokenizer) -> Iterator[ServeWith]:
    """Start a server for this test alone.

    `serve_with(models={"name": model}, batch=2, ...)`: the tiny model if no models are given; all
    else is a setting of `ServeConfig`.
    """
    with ExitStack() as stack:

        def start(models: dict[str, GPT2] | None = None, **settings: object) -> Served:
            models = models or {"tiny": small_model(tokenizer)}
            config = ServeConfig(**{"port": 0, "grace": 1.0, **settings})  # type: ignore[arg-type]
            return stack.enter_context(serving(models, config))

        yield start


@pytest.fixture(scope="session")
def endless_model(tokenizer: Tokenizer) -> GPT2:
    """A tiny model with many positions, none of whose tokens ends a text."""
    model = small_model(tokenizer, n_positions=50_000)
    model.special_ids = {}
    return model
