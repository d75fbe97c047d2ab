"""metrics.jsonl: a row a step, and a row an evaluation, in the run directory."""

import errno
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from gpt2.errors import CheckpointError
from gpt2.progress import log
from llm_tokenizer.atomic import write_whole

METRICS_FILE = "metrics.jsonl"
Row = dict[str, Any]
Record = Callable[[Row], None]  # takes the rows as they come

FIGURES = (  # numbers, null where they were not finite
    *("loss", "val_loss", "learning_rate", "grad_norm", "tokens", "val_tokens"),
    *("hellaswag_acc", "hellaswag_acc_norm"),
    *("tokens_per_second", "mfu", "training_seconds", "evaluation_seconds"),
)


class MetricsLog:
    """Appends rows to a run's metrics.jsonl; a context, which closes the file.

    If a write fails, as on a full disk, the rows are kept in memory and written with the next one;
    part of a row is removed from the file at once.

    Args:
        run: The run directory.
        last_step: Step that the run continues after; rows of later steps are dropped, since they
            will come again.
    """

    def __init__(self, run: Path, last_step: int) -> None:
        self.path = run / METRICS_FILE
        kept = [row for row in read_metrics(run) if row["step"] <= last_step]
        content = b"".join(map(_line, kept))
        write_whole(self.path, content)
        self._file = self.path.open("ab", buffering=0)
        self._written = len(content)  # bytes of whole rows
        self._waiting = b""

    def write(self, row: Row) -> None:
        """Append a row; it is with the operating system when this returns."""
        had_waited = bool(self._waiting)
        self._waiting += _line(row)
        try:
            self._write_waiting()
        except OSError as error:
            if not had_waited:
                log(f"cannot write to {self.path}: {error}; rows wait")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        with self._file:
            if self._waiting:
                self._write_waiting()

    def _write_waiting(self) -> None:
        written = self._file.write(self._waiting)
        if written < len(self._waiting):
            self._file.truncate(self._written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._written += written
        self._waiting = b""


def read_metrics(run: Path) -> list[Row]:
    """Return the rows of a run, in order; a last line that a crash cut short is left out.

    Rows of older versions may lack figures; those that are there are numbers, or None.

    Raises:
        CheckpointError: A line before the last is no row, or a figure is no number.
    """
    path = run / METRICS_FILE
    rows = read_rows(path, "a row of metrics", lambda row: type(row.get("step")) is int)
    for number, row in rows.items():
        check_figures(row, f"{path}, line {number}")
    return list(rows.values())


def read_rows(path: Path, what: str, is_row: Callable[[Row], bool]) -> dict[int, Row]:
    """Return the rows of a file of JSON lines, by the number of their line, from 1 on.

    Args:
        path: The file; without it there are no rows.
        what: What a line holds; the error names it.
        is_row: Whether an object is such a row.
    Raises:
        CheckpointError: A line before the last is no row; a crash may cut the last one short.
    """
    if not path.exists():
        return {}
    lines = path.read_bytes().splitlines()
    rows = {}
    for number, line in enumerate(lines, start=1):
        if (row := parse_row(line)) is not None and is_row(row):
            rows[number] = row
        elif number < len(lines):
            raise CheckpointError(
                f"{path}, line {number} is not {what}: {line[:40]!r}; remove that line"
            )
    return rows


def check_figures(row: Row, where: str) -> None:
    """Make sure that the figures of a row are numbers, or None.

    Raises:
        CheckpointError: One is not; the error begins with `where`.
    """
    wanted = dict.fromkeys(FIGURES, "a number") | {"changed": "a table"}
    kinds = {"a number": (int, float, type(None)), "a table": (dict,)}
    for name in wanted.keys() & row.keys():
        if not isinstance(row[name], kinds[wanted[name]]):
            raise CheckpointError(
                f"{where}: {name} must be {wanted[name]}, got {row[name]!r}; put it right, or "
                "remove that line"
            )


def parse_row(line: bytes) -> Row | None:
    """Return the JSON object of a line, with None for numbers that are not finite; None if none."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return _finite(row) if isinstance(row, dict) else None


def _line(row: Row) -> bytes:
    return (json.dumps(_finite(row), allow_nan=False) + "\n").encode()


def _finite(row: Row) -> Row:
    """Return a row with null for numbers that are not finite, which JSON does not have."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }
