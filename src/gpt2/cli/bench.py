"""`gpt2 bench`: measure speed and memory."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpt2.cli.model_flags import ModelName
from gpt2.cli.parsing import UsageError, parse_one_of
from gpt2.config import Dtype

if TYPE_CHECKING:
    from gpt2.bench import generation
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


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    parse_one_of({"attention": Attention, "generate": Generate}, args, verb="bench").run()
