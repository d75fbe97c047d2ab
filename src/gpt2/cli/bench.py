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


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    parse_one_of({"attention": Attention}, args, verb="bench").run()
