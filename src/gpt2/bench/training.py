"""Training on this device: tokens a second, share of the product peak, memory, time by part.

Each engine runs in a process of its own, all in turn, round by round, so that a slow moment of the
machine hits all. Medians of the rounds count. The peaks are measured before, between and after
them; one peak, the best, is the denominator of all engines.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch

from gpt2 import devices
from gpt2.bench.limits import read_bandwidth, torch_threads
from gpt2.bench.peers import is_installed, run_process
from gpt2.bench.training_engines import OURS, Job, Times, middle_of
from gpt2.bench.training_peers import TRAINING_PEERS
from gpt2.config import RunConfig
from gpt2.data.shards import header_of
from gpt2.errors import ConfigError, Gpt2Error
from gpt2.model.gpt import GPT2Network
from gpt2.progress import log

ROWS_ON_DISK = 64  # at least; a step may have more
LARGEST_ID = 2**16 - 1  # of a shard


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """What the device can do."""

    device: str
    product_flops: float | None  # of matrix products in the dtype, a second; None: not known
    read_bandwidth: float | None  # bytes of memory a second; of a CPU


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One engine."""

    engine: str
    tokens_per_second: float
    step_seconds: float
    share_of_peak: float | None
    ours_times_as_fast: float | None  # median of the rounds' ratios; of peers
    peak_memory_bytes: int | None  # of the process, or of its tensors on a GPU
    parts: dict[str, float]  # seconds of a further step, by part; empty where not measured
    loss: float  # of the first step, in nats a token


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that was measured."""

    peaks: Peaks
    dtype: str
    parameters: int
    rows: list[Measurement]


def one_step(config: RunConfig, *, rows: int, length: int) -> RunConfig:
    """Return the settings with one micro-batch a step, of whole contexts and new weights.

    Args:
        config: The settings.
        rows: Rows a step.
        length: Tokens a row, and positions of the model.
    Raises:
        ConfigError: A size is out of its range.
    """
    training = replace(
        config.training,
        micro_batch=rows,
        batch_tokens=rows * length,
        short_context=None,
        init_from=None,
    )
    return replace(
        config,
        model=replace(config.model, n_positions=length),
        data=replace(config.data, train_tokens=None),
        training=training,
    )


def measure(
    config: RunConfig, *, against: Sequence[str] = (), rounds: int = 3, threads: int | None = None
) -> Report:
    """Measure the steps of a run, and those of peers that are installed.

    Args:
        config: The settings, as `one_step` returns them.
        against: Keys of TRAINING_PEERS.
        rounds: Times that each engine is measured.
        threads: Of each engine on a CPU; as many as torch uses if None.
    Raises:
        ConfigError: A peer or the device is unknown, or no engine could be measured.
    """
    if unknown := [name for name in against if name not in TRAINING_PEERS]:
        known = ", ".join(TRAINING_PEERS)
        raise ConfigError(f"against must be of {known}, got {', '.join(unknown)}")
    once = dict.fromkeys(against)
    engines = [OURS, *(name for name in once if is_installed(name, TRAINING_PEERS[name]))]
    device = devices.select_device(config.training.device)
    dtype = devices.select_dtype(config.training.dtype, device)
    if warning := devices.slow_dtype_warning(dtype, device):
        log(warning)
    training = replace(config.training, dtype=devices.name_dtype(dtype))
    config = replace(config, training=training)
    threads = threads or torch.get_num_threads()
    with TemporaryDirectory() as folder:
        shard = Path(folder) / "rows.bin"
        shard.write_bytes(_random_shard(config))
        job = Job(engine=OURS, settings=config.to_sections(), shard=str(shard), threads=threads)
        peaks, times = _in_turn([replace(job, engine=name) for name in engines], device, rounds)
    return _report(config, peaks, times)


def _random_shard(config: RunConfig) -> bytes:
    """Return the content of a shard of random tokens, enough for the rows of a step."""
    count = max(ROWS_ON_DISK, config.batch_rows) * config.model.n_positions + 1
    most = min(config.model.vocab_size, LARGEST_ID + 1)
    ids = np.random.default_rng(0).integers(most, size=count)
    return header_of(count) + ids.astype("<u2").tobytes()


def _in_turn(
    jobs: list[Job], device: torch.device, rounds: int
) -> tuple[Peaks, dict[str, list[Times]]]:
    """Measure the peaks and run all jobs once a round; an engine that fails is left out."""
    times: dict[str, list[Times]] = {job.engine: [] for job in jobs}
    dtype = devices.DTYPES[jobs[0].settings["training"]["dtype"]]
    peaks = [measure_peaks(device, dtype, jobs[0].threads)]
    for number in range(1, rounds + 1):
        for job in jobs:
            if job.engine not in times:
                continue
            try:
                times[job.engine].append(_run(job))
            except Gpt2Error as error:
                del times[job.engine]
                log(f"{job.engine} is left out, since it failed: {error}")
            else:
                log(f"round {number} of {rounds}: {job.engine} is done")
        peaks.append(measure_peaks(device, dtype, jobs[0].threads))
    if not times:
        raise ConfigError("nothing could be measured: each engine failed, for the reasons above")
    return best_of(peaks), times


def _run(job: Job) -> Times:
    command = [sys.executable, "-m", "gpt2.bench.training_engines", json.dumps(asdict(job))]
    return Times(**json.loads(run_process(command)))


def measure_peaks(device: torch.device, dtype: torch.dtype, threads: int) -> Peaks:
    """Measure the products of the device and, of a CPU, its reads of memory."""
    with torch_threads(threads):
        return Peaks(
            device=devices.describe(device),
            product_flops=devices.peak_flops(device, dtype),
            read_bandwidth=read_bandwidth(threads) if device.type == "cpu" else None,
        )


def best_of(peaks: Sequence[Peaks]) -> Peaks:
    """Return what the device reached in its best moments."""
    flops = [each.product_flops for each in peaks if each.product_flops is not None]
    reads = [each.read_bandwidth for each in peaks if each.read_bandwidth is not None]
    return replace(
        peaks[0],
        product_flops=max(flops, default=None),
        read_bandwidth=max(reads, default=None),
    )


def _report(config: RunConfig, peaks: Peaks, times: dict[str, list[Times]]) -> Report:
    with torch.device("meta"):
        network = GPT2Network(config.model)
    flops = network.flops_per_token()
    ours = times.get(OURS)
    rows = []
    for engine, rounds in times.items():
        rate = median(config.training.batch_tokens / each.step_seconds for each in rounds)
        memory = [each.peak_memory_bytes for each in rounds if each.peak_memory_bytes is not None]
        rows.append(
            Measurement(
                engine=engine,
                tokens_per_second=rate,
                step_seconds=config.training.batch_tokens / rate,
                share_of_peak=rate * flops / peaks.product_flops if peaks.product_flops else None,
                ours_times_as_fast=_ratio(rounds, ours) if ours and engine != OURS else None,
                peak_memory_bytes=int(median(memory)) if memory else None,
                parts=middle_of([each.parts for each in rounds]),
                loss=rounds[0].loss,
            )
        )
    return Report(
        peaks=peaks,
        dtype=config.training.dtype,
        parameters=network.num_parameters(),
        rows=rows,
    )


def _ratio(theirs: list[Times], ours: list[Times]) -> float:
    """Return how many times as fast as a peer we are, round by round."""
    rounds = zip(theirs, ours, strict=True)
    return median(peer.step_seconds / own.step_seconds for peer, own in rounds)
