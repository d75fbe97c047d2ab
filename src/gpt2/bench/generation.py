"""Generation on this CPU: tokens a second, beside what memory allows and beside other engines.

To decode a token an engine reads every weight once, so that memory bounds it: the limit is the read
bandwidth over the bytes of the weights. Each engine and dtype runs in a process of its own, all in
turn, round by round, so that a slow moment of the machine hits all. Medians of the rounds count.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch

from gpt2 import devices
from gpt2.bench.engines import Job, Times
from gpt2.bench.limits import MULTIPLY, product_peak, read_bandwidth, torch_threads
from gpt2.bench.peers import HUGGING_FACE, PEERS, is_installed, run_process, write_model
from gpt2.errors import ConfigError, Gpt2Error
from gpt2.files.pretrained import GPT2
from gpt2.progress import log

OURS = "gpt2"
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Work:
    """What to measure."""

    dtypes: tuple[str, ...] = ("float32", "bfloat16", "int8", "int4")  # keys of MULTIPLY
    batches: tuple[int, ...] = (1, 16)  # texts at once
    prompt_tokens: int = 32
    new_tokens: int = 128
    rounds: int = 3
    against: tuple[str, ...] = ()  # keys of PEERS
    threads: int | None = None  # as many as torch uses if None


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the processor can do: the best of the same rounds."""

    processor: str
    threads: int
    read_bandwidth: float  # bytes a second
    peak_flops: dict[str, float]  # of matrix products, by dtype; operations a second


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One engine in one dtype with one batch. The limit and shares are of ours alone."""

    engine: str
    dtype: str
    batch: int
    tokens_per_second: float  # decoded, all texts together
    milliseconds_per_token: float  # of a text
    limit_tokens_per_second: float | None  # if reading the weights were all
    share_of_limit: float | None
    ours_times_as_fast: float | None  # median of the rounds' ratios; of peers
    first_token_seconds: float
    prefill_tokens_per_second: float  # of one long prompt
    prefill_share_of_peak: float | None  # of products with such weights
    peak_memory_bytes: int | None  # of the process


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that was measured."""

    machine: Machine
    rows: list[Measurement]


def measure(model: GPT2, work: Work) -> Report:
    """Measure generation of a model by this engine and by peers that are installed.

    Args:
        model: On the CPU, not quantized; measured from a copy in float32 on disk.
        work: What to measure.
    Raises:
        ConfigError: A dtype or peer is unknown, the model is quantized or too short, or no engine
            could be measured.
    """
    check(model, work)
    threads = work.threads or torch.get_num_threads()
    with TemporaryDirectory() as folder:
        jobs = list(_jobs(model.float(), threads, work, Path(folder)))
        machine, times = _in_turn(jobs, work.rounds)
    rows = [
        row
        for job in jobs
        if (job.engine, job.dtype) in times
        for row in _rows(model, machine, job, times)
    ]
    return Report(machine=machine, rows=rows)


def measure_machine(dtypes: Iterable[str], threads: int) -> Machine:
    """Measure what bounds generation: reads of memory, and matrix products."""
    with torch_threads(threads):
        return Machine(
            processor=devices.describe(CPU),
            threads=threads,
            read_bandwidth=read_bandwidth(threads),
            peak_flops={dtype: _product_peak(dtype, threads) for dtype in dtypes},
        )


def best_of(machines: Sequence[Machine]) -> Machine:
    """Return what the processor reached in its best moments."""
    peaks = {
        name: max(machine.peak_flops[name] for machine in machines)
        for name in machines[0].peak_flops
    }
    bandwidth = max(machine.read_bandwidth for machine in machines)
    return replace(machines[0], read_bandwidth=bandwidth, peak_flops=peaks)


def _product_peak(dtype: str, threads: int) -> float:
    """Return the rate of our products of a dtype's weights; in float32 torch's if it is higher."""
    ours = product_peak(dtype, threads)
    return max(ours, devices.peak_flops(CPU, torch.float32) or 0.0) if dtype == "float32" else ours


def check(model: GPT2, work: Work) -> None:
    """Refuse what cannot be measured.

    Raises:
        ConfigError: A dtype or peer is unknown, or the model is quantized or too short.
    """
    for name, values, known in (
        ("dtypes", work.dtypes, MULTIPLY),
        ("against", work.against, PEERS),
    ):
        if unknown := [value for value in values if value not in known]:
            raise ConfigError(f"{name} must be of {', '.join(known)}, got {', '.join(unknown)}")
    if model.quantization:
        raise ConfigError(
            f"the model to measure must have floating-point weights, got {model.quantization}; "
            "give the one that it was exported from: --dtypes int8,int4 quantizes it"
        )
    needed, positions = work.prompt_tokens + work.new_tokens, model.config.n_positions
    if needed > positions:
        raise ConfigError(
            f"prompt-tokens and new-tokens must be at most {positions} together, the positions of "
            f"this model, got {work.prompt_tokens} and {work.new_tokens}"
        )


def _jobs(model: GPT2, threads: int, work: Work, folder: Path) -> Iterator[Job]:
    """Write the model's files, and describe the work of each engine in each dtype."""
    peers = [name for name in work.against if is_installed(name, PEERS[name].packages)]
    write_model(model, folder, peers)
    job = Job(
        engine=OURS,
        path=str(folder / HUGGING_FACE),
        dtype="",
        threads=threads,
        batches=list(work.batches),
        prompt_tokens=work.prompt_tokens,
        new_tokens=work.new_tokens,
        prefill_tokens=_prefill_tokens(model),
        vocab_size=model.tokenizer.n_vocab if model.tokenizer else model.config.vocab_size,
    )
    for dtype in work.dtypes:
        yield replace(job, dtype=dtype)
    for name in peers:
        for dtype, ours in PEERS[name].beside.items():
            if ours in work.dtypes and _is_fast_enough(name, dtype):
                path = PEERS[name].write(folder, dtype)
                yield replace(job, engine=name, dtype=dtype, path=str(path))


def _prefill_tokens(model: GPT2) -> int:
    return max(1, min(1000, model.config.n_positions - 24))


def _is_fast_enough(name: str, dtype: str) -> bool:
    """Leave out torch's bfloat16 where a prefill takes minutes."""
    if name != "transformers" or dtype != "bfloat16":
        return True
    if warning := devices.slow_dtype_warning(torch.bfloat16, CPU):
        log(f"transformers in bfloat16 is left out: {warning}")
    return warning is None


def _in_turn(jobs: list[Job], rounds: int) -> tuple[Machine, dict[tuple[str, str], list[Times]]]:
    """Run the machine's own measurement and all jobs once a round; one that fails is left out."""
    times: dict[tuple[str, str], list[Times]] = {(job.engine, job.dtype): [] for job in jobs}
    dtypes = [job.dtype for job in jobs if job.engine == OURS]
    machines = []
    for number in range(1, rounds + 1):
        machines.append(measure_machine(dtypes, jobs[0].threads))
        for job in jobs:
            if (key := (job.engine, job.dtype)) not in times:
                continue
            try:
                times[key].append(_run(job))
            except Gpt2Error as error:
                del times[key]
                log(f"{job.engine} in {job.dtype} is left out, since it failed: {error}")
            else:
                log(f"round {number} of {rounds}: {job.engine} in {job.dtype} is done")
    if not times:
        raise ConfigError("nothing could be measured: each engine failed, as told above")
    _log_builds(times)
    return best_of(machines), times


def _log_builds(times: dict[tuple[str, str], list[Times]]) -> None:
    """Say what an engine is compiled for: a build for old processors is slower than it could be."""
    builds = {engine: rounds[0].build for (engine, _), rounds in times.items()}
    for engine, build in builds.items():
        if build:
            log(f"{engine} is built for {build}")


def _run(job: Job) -> Times:
    line = run_process([sys.executable, "-m", "gpt2.bench.engines", json.dumps(asdict(job))])
    return Times(**json.loads(line))


def _rows(
    model: GPT2, machine: Machine, job: Job, times: dict[tuple[str, str], list[Times]]
) -> Iterator[Measurement]:
    rounds = times[job.engine, job.dtype]
    prefill = median(job.prefill_tokens / each.prefill_seconds for each in rounds)
    peak = machine.peak_flops.get(job.dtype) if job.engine == OURS else None
    flops = prefill_flops(model, job.prefill_tokens) / job.prefill_tokens
    memory = [each.peak_memory_bytes for each in rounds if each.peak_memory_bytes is not None]
    for i, batch in enumerate(job.batches):
        rate = median(_rate(job, each, i) for each in rounds)
        limits = [
            batch * each.read_bandwidth[i] / each.weight_bytes
            for each in rounds
            if job.engine == OURS and each.weight_bytes
        ]
        shares = [_rate(job, each, i) / limit for each, limit in zip(rounds, limits, strict=False)]
        yield Measurement(
            engine=job.engine,
            dtype=job.dtype,
            batch=batch,
            tokens_per_second=rate,
            milliseconds_per_token=1e3 * batch / rate,
            limit_tokens_per_second=median(limits) if limits else None,
            share_of_limit=median(shares) if shares else None,
            ours_times_as_fast=_ratio(job, times, i),
            first_token_seconds=median(each.first_token_seconds[i] for each in rounds),
            prefill_tokens_per_second=prefill,
            prefill_share_of_peak=prefill * flops / peak if peak else None,
            peak_memory_bytes=int(median(memory)) if memory else None,
        )


def _rate(job: Job, times: Times, i: int) -> float:
    return job.batches[i] * (job.new_tokens - 1) / times.decode_seconds[i]


def _ratio(job: Job, times: dict[tuple[str, str], list[Times]], i: int) -> float | None:
    """Return how many times as fast as a peer we are, round by round."""
    if job.engine == OURS:
        return None
    ours = times.get((OURS, PEERS[job.engine].beside[job.dtype]))
    if ours is None:
        return None
    rounds = zip(times[job.engine, job.dtype], ours, strict=True)
    return median(theirs.decode_seconds[i] / own.decode_seconds[i] for theirs, own in rounds)


def prefill_flops(model: GPT2, tokens: int) -> float:
    """Return the operations of reading a prompt: 2 a weight, with the head for one token alone.

    Attention multiplies queries by keys and weights by values, each token with those before it.
    """
    config = model.config
    attention = 2 * tokens * (tokens + 1) * config.n_embd * config.n_layer
    return 2.0 * (_block_weights(model) * tokens + model.lm_head.weight.numel()) + attention


def _block_weights(model: GPT2) -> int:
    return sum(weight.numel() for weight in model.h.parameters() if weight.ndim == 2)
