"""Runs whose files a test writes, and a server of their page, on a free port of the loopback."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gpt2.config import (
    DataConfig,
    EvaluationConfig,
    GPT2Config,
    RunConfig,
    ServeConfig,
    TrainingConfig,
)
from gpt2.files.run_directory import CHECKPOINTS, checkpoint_name
from gpt2.visual.gallery.run import TrainingRun
from gpt2.visual.moments import write_moment

if TYPE_CHECKING:
    from gpt2.serve.server import Server

MOST_SECONDS = 60.0  # that a server may take to start or stop, on a busy machine
PROMPT = "The function"


class RunFiles:
    """A run directory that a test writes as training does."""

    def __init__(self, path: Path, steps: int = 40) -> None:
        path.mkdir()
        self.path = path
        model = GPT2Config(vocab_size=300, n_positions=24, n_embd=20, n_layer=3, n_head=4)
        config = RunConfig(
            model=model,
            data=DataConfig(directory=path / "data"),
            training=TrainingConfig(steps=steps, batch_tokens=240, micro_batch=10),
            evaluation=EvaluationConfig(every=5),
        )
        (path / "config.toml").write_text(config.to_toml(), encoding="utf-8")

    @staticmethod
    def step_row(step: int) -> dict[str, Any]:
        """The row of a step, whose values follow from its number."""
        return {
            "step": step,
            "loss": 6 - step / 10,
            "learning_rate": step / 1000,
            "grad_norm": 1 + step % 2,
            "tokens": 240 * step,
            "tokens_per_second": 1000.0 + step,
            "mfu": 0.25,
            "training_seconds": 0.24 * step,
        }

    def append(self, *rows: dict[str, Any], name: str = "metrics.jsonl") -> None:
        """Append rows to a file of lines."""
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    def train(self, first: int, last: int) -> None:
        """Append the rows of some steps."""
        self.append(*map(self.step_row, range(first, last + 1)))

    def evaluate(self, step: int, loss: float, text: str = " returns") -> None:
        """Append the row of an evaluation, with a sample."""
        samples = [{"prompt": PROMPT, "text": text}]
        self.append({"step": step, "val_loss": loss, "samples": samples})

    def save_checkpoint(self, step: int) -> None:
        """Write a complete checkpoint of 2 kB."""
        folder = self.path / CHECKPOINTS / checkpoint_name(step)
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(bytes(2000))
        manifest = {"model.safetensors": {"bytes": 2000}}
        (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[..., RunFiles]:
    """Make a run of a name."""
    return lambda name="small", steps=40: RunFiles(tmp_path / name, steps)


@pytest.fixture
def run(new_run: Callable[..., RunFiles]) -> RunFiles:
    """A run of 40 steps, of which it has taken 10."""
    run = new_run()
    run.train(1, 10)
    run.evaluate(10, 5.25)
    return run


@pytest.fixture
def write_moment_of(small_run: TrainingRun) -> Callable[[RunFiles, int], None]:
    """Write a moment of `small_run`, by its index, into a run."""
    return lambda run, index: write_moment(run.path, small_run.moments[index])


@dataclass(frozen=True)
class Watched:
    """A server that shows runs."""

    url: str
    server: "Server"


@contextmanager
def serving_runs(runs: Sequence[RunFiles], config: ServeConfig) -> Iterator[Watched]:
    """Show runs while the context lasts."""
    pytest.importorskip("fastapi", reason="the extra [serve] is not installed")
    from gpt2.serve.server import Loaded, Server
    from gpt2.serve.watch.server import watch_app
    from gpt2.serve.watch.watcher import Watcher

    started = threading.Event()
    found: list[Watched] = []

    async def serve() -> None:
        server = Server(config)
        watcher = Watcher([run.path for run in runs], seconds=0.05)

        async def load() -> Loaded:
            return Loaded(watch_app(watcher, needs_key=config.api_key is not None))

        def announce(url: str) -> None:
            found.append(Watched(url, server))
            started.set()

        await server.run_until_stopped(load, announce)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(MOST_SECONDS)
    try:
        yield found[0]
    finally:
        found[0].server.stop()
        thread.join(MOST_SECONDS)
        assert not thread.is_alive()


@pytest.fixture
def watch() -> Iterator[Callable[..., str]]:
    """Serve the page of runs, and return its address."""
    with ExitStack() as stack:

        def start(*runs: RunFiles, **settings: Any) -> str:
            config = ServeConfig(**({"port": 0} | settings))
            return stack.enter_context(serving_runs(runs, config)).url + "/run"

        yield start


@pytest.fixture
def watching() -> Callable[..., AbstractContextManager[Watched]]:
    """Serve the page of runs while a context lasts."""
    return lambda *runs, **settings: serving_runs(runs, ServeConfig(**settings))
