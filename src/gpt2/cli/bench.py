"""`gpt2 bench`: measure speed and memory."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro

from gpt2.cli import train
from gpt2.cli.model_flags import ModelName
from gpt2.cli.parsing import UsageError, parse_one_of
from gpt2.config import Dtype, RunConfig, recipe_path

if TYPE_CHECKING:
    from gpt2.bench import generation, training
    from gpt2.bench.attention import Measurement


@dataclass(frozen=True, kw_only=True)
class Attention(ModelName):
    """Time, memory and largest difference of the attention backends."""

    lengths: str = "128,512,1024"
    """Tokens a row, separated by commas."""
    rows: int = 1
    """Rows of random tokens."""
    rounds: int = 5
    """Times that each is measured; the median counts."""
    per_block: bool = False
    """Measure manual attention in each block alone, too, the others being flash."""
    device: str = "auto"
    """cpu, cuda or mps; auto takes the fastest there is."""
    dtype: Dtype = "auto"
    """Of the matrix products; auto: bfloat16 where it is fast."""
    json: bool = False
    """Print one JSON object a row of the table."""

    def __post_init__(self) -> None:
        if not all(length.strip().isdecimal() for length in self.lengths.split(",")):
            raise UsageError(
                f"lengths must be whole numbers separated by commas, got {self.lengths!r}"
            )
        if min(self.rows, self.rounds) < 1:
            raise UsageError(
                f"rows and rounds must be at least 1, got {self.rows} and {self.rounds}"
            )

    def run(self) -> None:
        """Measure, and print a row for each choice of backends and length."""
        from gpt2 import devices
        from gpt2.bench.attention import measure
        from gpt2.progress import log

        device = devices.select_device(self.device)
        dtype = devices.select_dtype(self.dtype, device)
        if warning := devices.slow_dtype_warning(dtype, device):
            log(warning)
        devices.make_training_fast()
        # In float32 whatever is stored: autocast chooses the dtype of the products.
        model = self.open("float32", device)
        if not self.json:
            print(
                f"# {self.rows} rows, {dtype}, {devices.describe(device)}; medians of {self.rounds}"
            )
            print(HEADER)
        for row in measure(
            model,
            [int(length) for length in self.lengths.split(",")],
            rows=self.rows,
            rounds=self.rounds,
            per_block=self.per_block,
            dtype=dtype,
        ):
            print(json.dumps(dataclasses.asdict(row)) if self.json else _line(row), flush=True)


HEADER = "length  attention            forward  and backward    memory  largest difference"


def _line(row: "Measurement") -> str:
    memory = "?" if row.memory_bytes is None else f"{row.memory_bytes / 2**20:,.0f} MB"
    return (
        f"{row.length:6}  {row.attention:18} {row.forward_seconds * 1e3:6.1f} ms "
        f"{row.forward_backward_seconds * 1e3:10.1f} ms {memory:>9}  {row.largest_difference:18.1e}"
    )


@dataclass(frozen=True, kw_only=True)
class Generate(ModelName):
    """Tokens a second on this CPU, beside what memory allows and beside other engines."""

    dtypes: str = "float32,bfloat16,int8,int4"
    """Of the weights, separated by commas; int8 and int4 quantize them."""
    batches: str = "1,16"
    """Texts at the same time, separated by commas."""
    prompt_tokens: int = 32
    """Tokens of a prompt; they are random."""
    new_tokens: int = 128
    """Tokens to write, at least 2."""
    rounds: int = 3
    """Times that all are measured, in turn; medians count."""
    against: str = ""
    """Other engines to measure, separated by commas: transformers, ctranslate2, llama.cpp."""
    threads: int | None = None
    """CPU threads of each engine; as many as torch uses if not given."""
    json: bool = False
    """Print one JSON object a row of the table."""

    def __post_init__(self) -> None:
        if not all(batch.isdecimal() and int(batch) for batch in _listed(self.batches)):
            raise UsageError(
                f"batches must be whole numbers from 1 on, with commas, got {self.batches!r}"
            )
        if not _listed(self.batches) or not _listed(self.dtypes):
            raise UsageError("dtypes and batches must each name at least one, got none")
        if min(self.prompt_tokens, self.new_tokens - 1, self.rounds, self.threads or 1) < 1:
            raise UsageError(
                "prompt-tokens, rounds and threads must be at least 1 and new-tokens 2, got "
                f"{self.prompt_tokens}, {self.rounds}, {self.threads or 'auto'} and "
                f"{self.new_tokens}"
            )

    def run(self) -> None:
        """Measure, and print a row for each engine, dtype and batch."""
        from gpt2.bench import generation

        work = generation.Work(
            dtypes=_listed(self.dtypes),
            batches=tuple(map(int, _listed(self.batches))),
            prompt_tokens=self.prompt_tokens,
            new_tokens=self.new_tokens,
            rounds=self.rounds,
            against=_listed(self.against),
            threads=self.threads,
        )
        report = generation.measure(self.open(), work)
        if not self.json:
            print(_machine_lines(report.machine, work), GENERATION_HEADER, sep="\n")
        for row in report.rows:
            if self.json:
                facts = {"machine": dataclasses.asdict(report.machine)}
                print(json.dumps(dataclasses.asdict(row) | facts, allow_nan=False))
            else:
                print(_generation_line(row))


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _machine_lines(machine: "generation.Machine", work: "generation.Work") -> str:
    peaks = ", ".join(
        f"{name} {flops / 1e9:,.0f} GFLOP/s" for name, flops in machine.peak_flops.items()
    )
    return (
        f"# {machine.processor}: reads {machine.read_bandwidth / 1e9:.1f} GB/s; products {peaks}\n"
        f"# {work.prompt_tokens}-token prompts, {work.new_tokens} new tokens, greedy; "
        f"medians of {work.rounds}; limit: every weight read once a step"
    )


GENERATION_HEADER = (
    "engine        dtype     batch  tokens/s  ms/token  limit (share)  ours is  "
    "first token  prefill (share)     memory"
)


def _generation_line(row: "generation.Measurement") -> str:
    limit = _with_share(row.limit_tokens_per_second, row.share_of_limit)
    ratio = "" if row.ours_times_as_fast is None else f"{row.ours_times_as_fast:.2f}x"
    prefill = _with_share(row.prefill_tokens_per_second, row.prefill_share_of_peak)
    memory = "?" if row.peak_memory_bytes is None else f"{row.peak_memory_bytes / 2**20:,.0f} MB"
    return (
        f"{row.engine:13} {row.dtype:9} {row.batch:5}  {row.tokens_per_second:8,.1f}  "
        f"{row.milliseconds_per_token:8.2f}  {limit:13}  {ratio:>7}  "
        f"{row.first_token_seconds * 1e3:8,.0f} ms  {prefill:15}  {memory:>9}"
    )


def _with_share(rate: float | None, share: float | None) -> str:
    """Return a rate, and its share of what is possible where that is known: 85 (0.93)."""
    number = "" if rate is None else f"{rate:,.0f}"
    return number if share is None else f"{number} ({share:.2f})"


@dataclass(frozen=True, kw_only=True)
class Train:
    """Training steps: tokens a second, share of the peak, memory, time by part, beside others."""

    recipe: str | None = None
    """Settings to measure: a TOML file or a bundled recipe; GPT-2 124M if not given. A step is one
    micro-batch of whole contexts, with new weights, on random tokens."""
    preset: Annotated[str | None, tyro.conf.arg(name="model.preset")] = None
    """Layers, heads and channels of a released model: gpt2, gpt2-medium, gpt2-large or gpt2-xl."""
    rows: int | None = None
    """Rows a step; the micro_batch of the recipe if not given, 4 without a recipe."""
    length: int | None = None
    """Tokens a row; the n_positions of the recipe if not given."""
    dtype: Dtype | None = None
    """Of the matrix products; that of the recipe if not given. auto: bfloat16 where it is fast."""
    device: str | None = None
    """cpu, cuda or mps, or auto, the fastest there is; that of the recipe if not given."""
    compile: bool = False
    """Compile our blocks and the other models with torch.compile; the recipe does not decide."""
    threads: int | None = None
    """CPU threads of each engine; as many as torch uses if not given."""
    rounds: int = 3
    """Times that all are measured, in turn; medians count."""
    against: str = ""
    """Others to measure, separated by commas: transformers, nanogpt-like."""
    json: bool = False
    """Print one JSON object an engine."""

    def __post_init__(self) -> None:
        numbers = {name: getattr(self, name) for name in ("rows", "length", "threads", "rounds")}
        for name, number in numbers.items():
            if number is not None and number < 1:
                raise UsageError(f"{name} must be at least 1, got {number}")

    def run(self) -> None:
        """Measure, and print a line for each engine and for each part of a step."""
        from gpt2.bench import training

        config = self.settings()
        report = training.measure(
            config, against=_listed(self.against), rounds=self.rounds, threads=self.threads
        )
        if not self.json:
            print(_training_table(config, report, self.rounds))
            return
        facts = {"peaks": dataclasses.asdict(report.peaks), "dtype": report.dtype}
        for row in report.rows:
            print(json.dumps(dataclasses.asdict(row) | facts, allow_nan=False))

    def settings(self) -> RunConfig:
        """Return the settings of the steps.

        Raises:
            ConfigError: The recipe is missing or wrong, or a size is out of its range.
        """
        from gpt2.bench.training import one_step
        from gpt2.train.settings import with_shape_of_init_from

        if self.recipe is None:
            config, rows = RunConfig.from_toml(recipe_path(PRETRAINING)), ROWS
        else:
            config = with_shape_of_init_from(train.read(["--recipe", self.recipe]).config)
            rows = config.training.micro_batch
        if self.preset is not None:
            config = dataclasses.replace(config, model=config.model.with_preset(self.preset))
        config = one_step(
            config, rows=self.rows or rows, length=self.length or config.model.n_positions
        )
        training = dataclasses.replace(
            config.training,
            dtype=self.dtype or config.training.dtype,
            device=self.device or config.training.device,
            compile=self.compile,
        )
        return dataclasses.replace(config, training=training)


PRETRAINING, ROWS = "gpt2-124m-fineweb-edu", 4  # without a recipe


def _training_table(config: RunConfig, report: "training.Report", rounds: int) -> str:
    """Return what was measured, as text."""
    peaks, model, training = report.peaks, config.model, config.training
    known = []
    if peaks.product_flops is not None:
        known.append(f"products {report.dtype} {peaks.product_flops / 1e9:,.0f} GFLOP/s")
    if peaks.read_bandwidth is not None:
        known.append(f"reads {peaks.read_bandwidth / 1e9:.1f} GB/s")
    lines = [
        f"# {peaks.device}: {'; '.join(known) or 'its peaks are not known'}",
        f"# {report.parameters:,} parameters, {model.n_layer} layers of {model.n_embd} "
        f"channels; {training.micro_batch} x {model.n_positions} tokens a step; "
        f"medians of {rounds}",
        f"# all in {report.dtype}; ours as gpt2 train, with {config.optimizer.kind}; the others as "
        "most run them, with AdamW and no memory settings",
        "engine         tokens/s     s/step  of peak  ours is     memory",
        *map(_training_line, report.rows),
        "",
        "# seconds of each part of a further step, and their share of s/step",
        "part             " + "".join(f"{row.engine:>22}" for row in report.rows),
        *_part_lines(report.rows),
    ]
    return "\n".join(lines)


def _training_line(row: "training.Measurement") -> str:
    share = "?" if row.share_of_peak is None else f"{row.share_of_peak:.2f}"
    ratio = "" if row.ours_times_as_fast is None else f"{row.ours_times_as_fast:.2f}x"
    memory = "?" if row.peak_memory_bytes is None else f"{row.peak_memory_bytes / 2**20:,.0f} MB"
    return (
        f"{row.engine:12} {row.tokens_per_second:10,.0f} {row.step_seconds:10.4f}  {share:>7}  "
        f"{ratio:>7}  {memory:>9}"
    )


def _part_lines(rows: "list[training.Measurement]") -> list[str]:
    """Return a line a part, with its seconds and its share of the step of each engine."""
    from gpt2.bench.step_parts import PARTS

    lines = []
    for part in PARTS:
        if any(part in row.parts for row in rows):
            lines.append(
                f"{part:17}" + "".join(_part_cell(row, row.parts.get(part)) for row in rows)
            )
    lines.append(
        f"{'together':17}" + "".join(_part_cell(row, sum(row.parts.values())) for row in rows)
    )
    return lines


def _part_cell(row: "training.Measurement", seconds: float | None) -> str:
    """Return seconds, and their share of the undisturbed step: 1.2345 (0.52)."""
    if seconds is None or not row.parts:
        return " " * 22
    return f"{seconds:14.4f} ({seconds / row.step_seconds:5.3f})"


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    kinds = {"attention": Attention, "generate": Generate, "train": Train}
    parse_one_of(kinds, args, verb="bench").run()
