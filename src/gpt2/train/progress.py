"""What a run shows while it trains: a bar on a terminal, and plain lines elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from gpt2.train.metrics import Record, Row

SECONDS_BETWEEN_LINES = 10.0
SKIPPED = "skipped: its loss or gradient norm is not finite"


@contextmanager
def display(first_step: int, steps: int) -> Iterator[Record]:
    """Show a run of `steps` steps that continues after `first_step`, on stderr."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(steps)
        return
    bar = Progress(
        TextColumn("{task.completed}/{task.total}"),
        BarColumn(bar_width=None),  # what the figures leave of the line
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        expand=True,
    )
    with bar:
        task = bar.add_task("", total=steps, completed=first_step)
        val = ""

        def show(row: Row) -> None:
            nonlocal val
            if "val_loss" in row:
                val = f"  val {row['val_loss']:.3f}"
                for line in describe_samples(row):
                    bar.print(line, markup=False, highlight=False)
            else:
                bar.update(task, completed=row["step"], description=describe(row, val))
            if "skipped" in row:
                bar.print(f"step {row['step']} {SKIPPED}", markup=False, highlight=False)

        yield show


class _Lines:
    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.shown_at = 0.0  # seconds of training
        self.first: Row | None = None

    def __call__(self, row: Row) -> None:
        if "val_loss" in row:
            print(f"step {row['step']}/{self.steps}  val {row['val_loss']:.3f}", file=sys.stderr)
            for line in describe_samples(row):
                print(line, file=sys.stderr)
            return
        if "skipped" in row:
            print(f"step {row['step']}/{self.steps}  {SKIPPED}", file=sys.stderr)
        self.first = self.first or row
        due = row["seconds"] - self.shown_at >= SECONDS_BETWEEN_LINES
        if due or row["step"] in (1, self.steps):
            left = (self.steps - row["step"]) * self._pace(row)
            line = f"step {row['step']}/{self.steps}  {describe(row)}  {left:.0f} s left"
            print(line, file=sys.stderr)
            self.shown_at = row["seconds"]

    def _pace(self, row: Row) -> float:
        assert self.first is not None
        steps = row["step"] - self.first["step"]
        if steps == 0:
            return float(row["seconds"]) / row["step"]
        return float(row["seconds"] - self.first["seconds"]) / steps


def describe(row: Row, val: str = "") -> str:
    """Return the figures of one step in a line, with `val` after the loss."""
    mfu = "" if row["mfu"] is None else f"  MFU {row['mfu']:.0%}"
    return (
        f"loss {row['loss']:.3f}{val}  lr {row['learning_rate']:.1e}  "
        f"norm {row['grad_norm']:.2f}  {row['tokens_per_second']:,.0f} tok/s{mfu}"
    )


def describe_samples(row: Row) -> list[str]:
    """Return the samples of an evaluation, if there are any, each as a line."""
    return [f"  {sample['prompt']!r} {sample['text']!r}" for sample in row.get("samples", [])]
