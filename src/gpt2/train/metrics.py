"""metrics.jsonl: a row a step, and a row an evaluation, in the run directory."""

import json
from pathlib import Path
from typing import Any, Self, TextIO

from gpt2.errors import CheckpointError
from llm_tokenizer.text_files import write_whole

METRICS_FILE = "metrics.jsonl"
Row = dict[str, Any]


class MetricsLog:
    """Appends rows to a run's metrics.jsonl; a context, which closes the file.

    Args:
        run: The run directory.
        last_step: Step that the run continues after; rows of later steps are dropped, since they
            will come again.
    """

    def __init__(self, run: Path, last_step: int) -> None:
        path = run / METRICS_FILE
        kept = [row for row in read_metrics(run) if row["step"] <= last_step]
        write_whole(path, "".join(_line(row) for row in kept).encode())
        self._file: TextIO = path.open("a", encoding="utf-8")

    def write(self, row: Row) -> None:
        """Append a row; it is with the operating system when this returns."""
        self._file.write(_line(row))
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._file.close()


def read_metrics(run: Path) -> list[Row]:
    """Return the rows of a run, in order; a last line that a crash cut short is left out.

    Raises:
        CheckpointError: A line before the last is no row.
    """
    path = run / METRICS_FILE
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines()
    rows = []
    for number, line in enumerate(lines, start=1):
        if (row := _parse(line)) is not None:
            rows.append(row)
        elif number < len(lines):
            raise CheckpointError(f"{path}, line {number} is not a row of metrics: {line[:40]!r}")
    return rows


def _parse(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and type(row.get("step")) is int else None


def _line(row: Row) -> str:
    return json.dumps(row) + "\n"
