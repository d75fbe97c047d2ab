"""Training in a process of its own: `python -m gpt2.bench.training_engines JOB` prints its `Times`.

All engines read the same rows by the same clock. Ours takes the steps of `gpt2 train` by the same
`Trainer`, in the same setting.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from gpt2 import devices
from gpt2.bench.engines import peak_memory
from gpt2.bench.step_parts import Steps, watched
from gpt2.config import RunConfig
from gpt2.data.batches import Batches, TokenStream
from gpt2.data.shards import read_shard

OURS = "gpt2"
WARM_UP = 2  # steps: the first one allocates, and may compile
LEAST, MOST, ENOUGH_SECONDS = 3, 50, 2.0  # steps to time


@dataclass(frozen=True, kw_only=True)
class Job:
    """What an engine is to do."""

    engine: str  # OURS, or a key of TRAINING_PEERS
    settings: dict[str, Any]  # RunConfig.to_sections
    shard: str  # file of tokens
    threads: int


@dataclass(frozen=True, kw_only=True)
class Times:
    """What it took."""

    step_seconds: float  # median
    parts: dict[str, float]  # seconds, of the median of as many more steps; empty if compiled
    peak_memory_bytes: int | None  # of the process, or of its tensors on a GPU
    loss: float  # of the first step, in nats a token


def measure(job: Job) -> Times:
    """Measure an engine in this process, whose threads and memory settings it changes."""
    torch.set_num_threads(job.threads)
    config = RunConfig.from_sections(job.settings, "the job")
    device = devices.select_device(config.training.device)
    with _prepared(job, config) as (steps, network):
        loss = steps.take_step()["loss"]
        for _ in range(WARM_UP - 1):
            steps.take_step()
        seconds, parts = _timed(steps, network, device, compiled=config.training.compile)
    return Times(
        step_seconds=median(seconds),
        parts=middle_of(parts),
        peak_memory_bytes=_peak_memory(device),
        loss=loss,
    )


@contextmanager
def _prepared(job: Job, config: RunConfig) -> Iterator[tuple[Steps, nn.Module | None]]:
    """Yield what takes the steps of an engine, and its network, if its parts can be timed."""
    stream = TokenStream([read_shard(Path(job.shard))], config.model.n_positions)
    with closing(Batches(stream, config.batch_rows, config.data.seed)) as batches:
        if job.engine == OURS:
            with _ours(config, batches) as ours:
                yield ours
        else:
            from gpt2.bench.training_peers import make_peer

            device = devices.select_device(config.training.device)
            peer, network = make_peer(job.engine, config, batches, device)
            # The other models are compiled as a whole, so that nothing within can be timed.
            yield peer, None if config.training.compile else network


@contextmanager
def _ours(config: RunConfig, batches: Batches) -> Iterator[tuple[Steps, nn.Module]]:
    from gpt2.files.training_state import TrainingState
    from gpt2.train.agreement import facts_of_start
    from gpt2.train.build import make_parallel
    from gpt2.train.distributed import joined
    from gpt2.train.loop import Trainer
    from gpt2.train.optimizer import make_optimizers

    with joined(config.training, facts_of_start(config, "a benchmark")) as processes:
        parallel = make_parallel(config, None, None, processes)
        optimizers = make_optimizers(parallel.model, config.optimizer, parallel.dtype)
        trainer = Trainer(config, parallel, optimizers, batches, (), None, TrainingState())
        yield trainer, parallel.model


def _timed(
    steps: Steps, network: nn.Module | None, device: torch.device, *, compiled: bool
) -> tuple[list[float], list[dict[str, float]]]:
    """Return the seconds of some steps, and those of the parts of as many steps between them."""
    seconds: list[float] = []
    parts: list[dict[str, float]] = []
    while len(seconds) < LEAST or (len(seconds) < MOST and sum(seconds) < ENOUGH_SECONDS):
        devices.synchronize(device)
        started = time.perf_counter()
        steps.take_step()
        devices.synchronize(device)
        seconds.append(max(time.perf_counter() - started, 1e-9))  # a coarse clock may show none
        if network is None:
            continue
        with watched(steps, network, device, compiled=compiled) as clock:
            parts.append(clock.measure(steps.take_step))
    return seconds, parts


def middle_of(steps: list[dict[str, float]]) -> dict[str, float]:
    """Return the parts of the step that takes the median time: medians of parts would not add up.

    >>> middle_of([{"MLP": 3.0}, {"MLP": 1.0, "data": 1.0}, {"MLP": 9.0}])
    {'MLP': 3.0}
    """
    by_time = sorted(steps, key=lambda parts: sum(parts.values()))
    return by_time[len(steps) // 2] if steps else {}


def _peak_memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return peak_memory() if device.type == "cpu" else None


def main() -> None:
    """Do the job of the first argument, and print its times as the last line."""
    times = measure(Job(**json.loads(sys.argv[1])))
    print("\n" + json.dumps(asdict(times), allow_nan=False), flush=True)


if __name__ == "__main__":
    main()
