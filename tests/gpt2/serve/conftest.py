"""A server of a tiny model on a free port of the loopback, in a thread of the tests' process."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from threading import Thread

import pytest
import torch
import uvicorn

from gpt2.config import GPT2Config, ServeConfig
from gpt2.files.pretrained import GPT2
from gpt2.generation.engine import Engine
from gpt2.serve.app import make_app
from gpt2.serve.models import ServedModels, serve_model
from llm_tokenizer import Tokenizer

MOST_SECONDS = 30  # for a server to start or to end


@dataclass(frozen=True)
class Served:
    """A server that runs."""

    url: str  # such as http://127.0.0.1:40123
    models: ServedModels


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
    started: Future[tuple[uvicorn.Server, Served]] = Future()
    thread = Thread(target=lambda: asyncio.run(_serve(models, config, started)), daemon=True)
    thread.start()
    server, served = started.result(MOST_SECONDS)
    try:
        yield served
    finally:
        server.should_exit = True
        thread.join(MOST_SECONDS)
        assert not thread.is_alive()


async def _serve(
    models: dict[str, GPT2],
    config: ServeConfig,
    started: "Future[tuple[uvicorn.Server, Served]]",
) -> None:
    try:
        served = [
            serve_model(name, name, Engine(model, most_texts=config.batch), model, config)
            for name, model in models.items()
        ]
        known = ServedModels(served)
        settings = uvicorn.Config(
            make_app(known),
            host=config.host,
            port=config.port,
            log_level="critical",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(settings)
        task = asyncio.ensure_future(server.serve())
        while not server.started and not task.done():
            await asyncio.sleep(0.001)
        port = server.servers[0].sockets[0].getsockname()[1]
    except BaseException as error:
        started.set_exception(error)
        raise
    started.set_result((server, Served(f"http://{config.host}:{port}", known)))
    await task
    for model in served:
        model.worker.cancel_all()
        model.worker.stop()


@pytest.fixture(scope="session")
def served(tokenizer: Tokenizer) -> Iterator[Served]:
    """A server of the tiny model, named "tiny", that all tests share."""
    with serving({"tiny": small_model(tokenizer)}, ServeConfig(port=0)) as served:
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
            config = ServeConfig(**{"port": 0, **settings})  # type: ignore[arg-type]
            return stack.enter_context(serving(models, config))

        yield start
