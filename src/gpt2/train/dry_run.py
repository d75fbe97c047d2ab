"""What a run would be: its size, its memory, and its time by a few measured passes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from gpt2 import devices
from gpt2.config import RunConfig
from gpt2.data.manifest import MANIFEST_FILE, UNFINISHED
from gpt2.data.shard_folder import TokenData, open_shards
from gpt2.files.pretrained import GPT2
from gpt2.model.gpt import evaluating
from gpt2.train.agreement import facts_of, facts_of_data, facts_of_start
from gpt2.train.build import make_parallel
from gpt2.train.checks import check_data, check_settings
from gpt2.train.distributed import Processes, clip_gradients, joined
from gpt2.train.moments import moment_steps
from gpt2.train.optimizer import make_optimizers
from gpt2.train.resumption import check_same_data, is_finished, last_saved
from gpt2.train.run import require_new, require_run
from gpt2.train.settings import resolve, warn, with_shape_of_init_from

PASSES = 3
ENOUGH_SECONDS = 20.0  # of measuring: no further pass after that
MAX_FIXED_SHARE = 0.8  # of the memory for weights, gradients, optimizer; activations need some
FLOAT32 = 4  # bytes


@dataclass(frozen=True)
class Measured:
    """What one rank takes."""

    micro_batch: float  # seconds, forward and backward
    last_micro_batch: float  # seconds, where the gradients are averaged, too
    update: float  # seconds, of clipping and the optimizers
    evaluation: float  # seconds, of a micro-batch without gradients
    activations: int | None  # bytes, None where the device has no record


def plan(
    config: RunConfig,
    *,
    new: Path | None = None,
    resumed: Path | None = None,
    allow_changes: Sequence[str] = (),
) -> str:
    """Return what a run would be, as lines of text; an empty text on ranks other than 0.

    Nothing is written. What would keep the run from starting is raised, as when it starts, but the
    data of a new run need not be there yet.

    Args:
        config: The settings.
        new: Directory in which the run would start, if it is chosen.
        resumed: Directory of the run that would be resumed.
        allow_changes: As in `resume`.
    Raises:
        CheckpointError, ConfigError, DataError: As in `start`, or in `resume`.
    """
    with joined(config.training, facts_of_start(config, "a dry run")) as processes:
        config = resolve(config, processes)
        warn(config, processes)
        if resumed is None:
            config = with_shape_of_init_from(config)
        check_settings(config, processes)
        if resumed is None:
            data = _data_of_new(config, new, processes)
        else:
            require_run(resumed)
            checkpoint, state, _ = last_saved(resumed, config, allow_changes, processes)
            if processes.broadcast(is_finished(resumed, config, state)):
                return f"{resumed} is finished" if processes.is_rank_0 else ""
            data = open_shards(config.data.directory)
            if checkpoint:
                check_same_data(data, state, config, resumed)
            check_data(config, data, checkpoint or config.training.init_from, processes)
        processes.agree(lambda: facts_of(config) | (facts_of_data(config, data) if data else {}))
        with torch.device("meta"):
            parameters = GPT2(config.model).num_parameters()
        whole = memory_by_part(config, parameters)
        shares = processes.world_size if config.training.parallel == "fsdp" else 1
        memory = {part: size // shares for part, size in whole.items()}
        here = devices.memory(processes.device)
        fits = here is None or sum(memory.values()) <= MAX_FIXED_SHARE * here
        all_fit = not processes.max(not fits)
        measured = _measure(config, processes) if all_fit else None
        lines = [
            *_size(config, parameters, data, processes.world_size),
            *_memory(memory, whole["weights"] + whole["optimizer"], measured, here),
            *_time(config, measured, processes.world_size),
        ]
    return "\n".join(lines) if processes.is_rank_0 else ""


def _data_of_new(config: RunConfig, run: Path | None, processes: Processes) -> TokenData | None:
    """Return the data that a new run could start with, None if they are not there yet."""
    if run is not None:
        require_new(run, processes)
    if not _is_prepared(config.data.directory):
        return None
    data = open_shards(config.data.directory)
    check_data(config, data, config.training.init_from, processes)
    return data


def _is_prepared(directory: Path) -> bool:
    """Return whether a folder holds shards, sound or not, that nobody is still writing."""
    if directory.is_file() or (directory / MANIFEST_FILE).exists():
        return True
    shards = (f"*/{MANIFEST_FILE}", "*.bin", "*.npy")
    return not (directory / UNFINISHED).exists() and any(
        path for pattern in shards for path in directory.glob(pattern)
    )


def memory_by_part(config: RunConfig, parameters: int) -> dict[str, int]:
    """Return the bytes that a run holds throughout, by what they are."""
    moments = 2 * parameters
    if config.optimizer.kind != "adamw":  # one for the matrices inside the blocks
        model = config.model
        inside = model.n_layer * (4 * model.n_embd**2 + 2 * model.n_embd * model.inner)
        moments -= inside
    counts = {"weights": parameters, "gradients": parameters, "optimizer": moments}
    return {part: FLOAT32 * count for part, count in counts.items()}


def _measure(config: RunConfig, processes: Processes) -> Measured:
    device, training = processes.device, config.training
    parallel = make_parallel(config, None, None, processes)
    model = parallel.model
    optimizers = make_optimizers(model, config.optimizer, parallel.dtype)
    shape = (training.micro_batch, config.model.n_positions + 1)
    rows = torch.randint(config.model.vocab_size, shape, generator=torch.Generator().manual_seed(0))

    def micro_batch() -> None:
        with parallel.gradient_sync(is_last=False):
            parallel.loss(rows).backward()

    def last_micro_batch() -> None:
        with parallel.gradient_sync(is_last=True):
            parallel.loss(rows).backward()

    def update() -> None:
        clip_gradients(model, config.optimizer.gradient_clip)
        for optimizer in optimizers:
            optimizer.step()

    def evaluation() -> None:
        with torch.no_grad(), evaluating(model), parallel.autocast():
            ids = rows.to(device)
            model.loss(ids[:, :-1], ids[:, 1:])

    last_micro_batch()  # the first ones compile, and allocate the gradients and the moments
    update()
    activations = devices.peak_memory(device, micro_batch)
    return Measured(
        _median_seconds(micro_batch, processes),
        _median_seconds(last_micro_batch, processes),
        _median_seconds(update, processes),
        _median_seconds(evaluation, processes),
        activations,
    )


def _median_seconds(work: Callable[[], None], processes: Processes) -> float:
    """Return how long the work takes; all processes do it as often."""
    durations: list[float] = []
    while len(durations) < PASSES and processes.max(sum(durations)) < ENOUGH_SECONDS:
        start = time.perf_counter()
        work()
        devices.synchronize(processes.device)
        durations.append(time.perf_counter() - start)
    return median(durations)


def _size(config: RunConfig, parameters: int, data: TokenData | None, processes: int) -> list[str]:
    training, model = config.training, config.model
    tokens = training.steps * training.batch_tokens
    passes = config.batch_rows // (training.micro_batch * processes)
    directory = config.data.directory
    read = f"none: no complete set of token shards in {directory} yet"
    if data is not None:
        there = sum(map(len, data.train))
        read = f"{there:,} training tokens in {directory}, each {tokens / there:.2f} times"
    return [
        f"parameters   {parameters:,}: {model.n_layer} layers of {model.n_embd} channels and "
        f"{model.n_head} heads, {model.vocab_size:,} tokens, {model.n_positions:,} positions",
        f"tokens       {tokens:,}",
        f"steps        {training.steps:,} of {training.batch_tokens:,} tokens",
        f"processes    {processes}, each of {passes} x {training.micro_batch} rows a step",
        f"data         {read}",
        *_history(config),
    ]


def _history(config: RunConfig) -> list[str]:
    steps = moment_steps(config)
    if not steps:
        return []
    return [f"moments      {len(steps)}, each of less than 1 MB, of steps 0 to {steps[-1]:,}"]


def _memory(
    memory: dict[str, int], copied: int, measured: Measured | None, here: int | None
) -> list[str]:
    parts = dict(memory)
    if measured and measured.activations is not None:
        parts["activations"] = measured.activations
    of_device = f" of {_gigabytes(here)}" if here else ""
    return [
        "memory       of each process:",
        *(f"  {part:11}{_gigabytes(size)}" for part, size in parts.items()),
        f"  {'together':11}{_gigabytes(sum(parts.values()))}{of_device}",
        f"  while a checkpoint is written, in the main memory of the first one: "
        f"{_gigabytes(copied).strip()}",
    ]


def _time(config: RunConfig, measured: Measured | None, processes: int) -> list[str]:
    if measured is None:
        return ["time         not measured: the device has too little memory"]
    training, evaluation = config.training, config.evaluation
    rows = training.micro_batch * processes  # of all processes at a time
    before = (config.batch_rows // rows - 1) * measured.micro_batch
    step = before + measured.last_micro_batch + measured.update
    evaluations = -(-training.steps // evaluation.every)
    val_passes = -(-evaluation.val_tokens // (rows * config.model.n_positions))
    seconds = training.steps * step + evaluations * val_passes * measured.evaluation
    excluded = ", without HellaSwag," if evaluation.hellaswag is not None else ""
    return [
        f"time         {seconds / 3600:,.1f} hours{excluded} by {measured.micro_batch:.3f} s a "
        f"micro-batch, {measured.update:.3f} s an update and {measured.evaluation:.3f} s a "
        f"micro-batch of evaluation; {training.batch_tokens / max(step, 1e-9):,.0f} tokens/s"
    ]


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:8.3f} GB"
