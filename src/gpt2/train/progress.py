"""What a run shows while it trains, from the rows of its metrics."""

from collections.abc import Iterator
from contextlib import contextmanager

from gpt2 import progress
from gpt2.train.metrics import Record, Row

SKIPPED = "skipped: its loss or gradient norm is not finite"


@contextmanager
def display(first_step: int, steps: int, seconds: float = 0.0) -> Iterator[Record]:
    """Show a run of `steps` steps that continues after `first_step`, on stderr.

    Args:
        first_step: Steps of earlier starts.
        steps: Steps of the whole run.
        seconds: What the steps of earlier starts took.
    """

    def label(step: float) -> str:
        return f"step {step:.0f}/{steps}"

    with progress.display(steps, label, done=first_step, seconds=seconds) as shown:

        def show(row: Row) -> None:
            if "val_loss" in row:
                shown.log(f"{label(row['step'])}  {describe_evaluation(row)}")
                for line in describe_samples(row):
                    shown.log(line)
                return
            if "skipped" in row:
                shown.log(f"{label(row['step'])}  {SKIPPED}")
            shown.update(row["step"], describe(row), row["training_seconds"])

        yield show


def describe(row: Row) -> str:
    """Return the figures of one step in a line."""
    mfu = "" if row["mfu"] is None else f"  MFU {row['mfu']:.0%}"
    return (
        f"loss {row['loss']:.3f}  lr {row['learning_rate']:.1e}  "
        f"norm {row['grad_norm']:.2f}  {row['tokens_per_second']:,.0f} tok/s{mfu}"
    )


def describe_evaluation(row: Row) -> str:
    """Return the figures of an evaluation in a line."""
    accuracy = row.get("hellaswag_acc_norm")
    hellaswag = "" if accuracy is None else f"  HellaSwag {accuracy:.4f}"
    return f"val {row['val_loss']:.3f}{hellaswag}"


def describe_samples(row: Row) -> list[str]:
    """Return the samples of an evaluation, if there are any, each as a line."""
    return [f"  {sample['prompt']!r} {sample['text']!r}" for sample in row.get("samples", [])]
