"""What an evaluation has found: as a table, as a JSON object, and as a row of a run's file."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EVALUATIONS_FILE = "evaluations.jsonl"  # of a run directory
LARGE = 1e6  # figures from there on are written with an exponent
UNCERTAIN, INTERVAL = "± 1 s.e.", "95 % interval"


@dataclass(frozen=True, kw_only=True)
class Result:
    """The figures of an evaluation, with what to set beside them."""

    evaluation: str  # such as "hellaswag"
    counts: dict[str, int]  # what was measured, such as rows and tokens
    figures: dict[str, float]
    standard_errors: dict[str, float | None]  # of each figure that is a mean; None: unknown
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)  # of 95 %, if computed
    references: dict[str, dict[str, float]] = field(default_factory=dict)  # figure: label: value
    notes: tuple[str, ...] = ()  # lines on how it was measured

    def known(self) -> dict[str, dict[str, float]]:
        """Return the references of the figures that were measured."""
        return {name: each for name, each in self.references.items() if name in self.figures}

    def to_row(self) -> dict[str, Any]:
        """Return a JSON object; a figure that is not finite is None."""
        return {
            "evaluation": self.evaluation,
            **self.counts,
            **{name: _finite(value) for name, value in self.figures.items()},
            "standard_errors": {k: _finite(error) for k, error in self.standard_errors.items()},
            **({"intervals": self.intervals} if self.intervals else {}),
            "references": self.known(),
            "notes": list(self.notes),
        }

    def to_text(self) -> str:
        """Return a table: a line a figure, with its standard error and the published values."""
        references = self.known()
        most_first = sorted(references.values(), key=len, reverse=True)  # in their order
        labels = list(dict.fromkeys(label for known in most_first for label in known))
        errors = any(error is not None for error in self.standard_errors.values())
        beside = [*([UNCERTAIN] if errors else []), *([INTERVAL] if self.intervals else [])]
        header = ["", self.evaluation, *beside, *labels]
        rows = [header] if beside or labels else []
        for name, value in self.figures.items():
            error = self.standard_errors.get(name)
            known = references.get(name, {})
            uncertain = [_written(error)] if errors else []
            bounds = [_interval(self.intervals.get(name))] if self.intervals else []
            others = [_written(known.get(label)) for label in labels]
            rows.append([name, _written(value), *uncertain, *bounds, *others])
        rows += [[name, f"{count:,}"] for name, count in self.counts.items()]
        return "\n".join([*(f"# {note}" for note in self.notes), *_aligned(rows)])


def append_result(run: Path, row: Mapping[str, Any]) -> None:
    """Append a row to a run's file of evaluations; it is on the disk when this returns."""
    line = (json.dumps(dict(row), allow_nan=False) + "\n").encode()
    path = run / EVALUATIONS_FILE
    before = path.read_bytes() if path.exists() else b""
    was_cut_short = bool(before) and not before.endswith(b"\n")
    with path.open("ab") as file:
        file.write(b"\n" * was_cut_short + line)
        file.flush()
        os.fsync(file.fileno())


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _written(value: float | None) -> str:
    """Return a figure as a table shows it, nothing for None."""
    if value is None:
        return ""
    return f"{value:.4f}" if abs(value) < LARGE else f"{value:.4g}"


def _interval(bounds: tuple[float, float] | None) -> str:
    return f"{bounds[0]:.4f} to {bounds[1]:.4f}" if bounds else ""


def _aligned(rows: list[list[str]]) -> list[str]:
    """Return rows of cells as lines: first cells to the left, the others to the right."""
    widths: list[int] = []
    for row in rows:
        for column, cell in enumerate(row):
            widths[column:] = widths[column:] or [0]
            widths[column] = max(widths[column], len(cell))
    lines = []
    for name, *cells in rows:
        padded = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=False)]
        lines.append("  ".join([name.ljust(widths[0]), *padded]).rstrip())
    return lines
