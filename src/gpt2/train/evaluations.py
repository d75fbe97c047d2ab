"""evaluations.jsonl: what `gpt2 eval` measured of a run's checkpoints, a row an evaluation."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gpt2.errors import CheckpointError
from gpt2.evaluate.results import EVALUATIONS_FILE
from gpt2.train.metrics import Row, read_rows
from llm_tokenizer import well_formed
from llm_tokenizer.atomic import write_whole


def read_evaluations(run: Path) -> list[Row]:
    """Return the rows of a run; of one that was repeated on the same data, the last.

    Raises:
        CheckpointError: A line before the last is no row, or one has a wrong value.
    """
    path = run / EVALUATIONS_FILE
    rows = read_rows(path, "an evaluation", lambda row: type(row.get("evaluation")) is str)
    for number, row in rows.items():
        check_evaluation(row, f"{path}, line {number}")
    return last_of_each(rows.values())


def drop_evaluations_after(run: Path, step: int) -> None:
    """Remove the rows of later steps, whose weights a run with changed settings replaces.

    Raises:
        CheckpointError, OSError: As `read_evaluations`, or the file cannot be written.
    """
    path = run / EVALUATIONS_FILE
    rows = read_rows(path, "an evaluation", lambda row: type(row.get("step")) is int)
    later = {number for number, row in rows.items() if row["step"] > step}
    if later:
        lines = enumerate(path.read_bytes().splitlines(keepends=True), start=1)
        write_whole(path, b"".join(line for number, line in lines if number not in later))


def last_of_each(rows: Iterable[Row]) -> list[Row]:
    """Return the rows without those of evaluations that were repeated on the same data later."""
    last = {
        (row["evaluation"], str(row.get("model")), row["step"], str(row.get("data"))): row
        for row in rows
    }
    return list(last.values())


def figures_of(row: Row) -> list[str]:
    """Return the names of a row's figures: those with a standard error or a reference."""
    return list(row.get("standard_errors", {}) | row.get("references", {}))


def evaluations_table(rows: Sequence[Row]) -> str:
    """Return the rows as a table in Markdown, a line a figure, beside the reference models."""
    lines = [
        f"| {_cell(row['evaluation'])} | {_data(row)} | {row['step']} | {_cell(name)} | "
        f"{_figure(row, name)} | {_references(row, name)} |"
        for row in rows
        for name in figures_of(row)
    ]
    head = "| evaluation | data | step | figure | this run ± standard error | references |"
    return "\n".join([head, "|---|---|---|---|---|---|", *lines])


def _data(row: Row) -> str:
    """Return the names of the files that were read, of many the first one."""
    names = [_cell(name) for name, _ in row.get("data", [])]
    return names[0] + f" and {len(names) - 1} more" * (len(names) > 1) if names else ""


def _figure(row: Row, name: str) -> str:
    error = row.get("standard_errors", {}).get(name)
    return _number(row[name]) + ("" if error is None else f" ± {_number(error)}")


def _references(row: Row, name: str) -> str:
    known = row.get("references", {}).get(name, {})
    return ", ".join(f"{_cell(model)} {_number(value)}" for model, value in known.items())


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4g}"


def _cell(text: str) -> str:
    """Return a text that stays within a cell of a table; a file's name may be no UTF-8."""
    return well_formed(" ".join(text.split()).replace("|", "\\|"))


def check_evaluation(row: Row, where: str) -> None:
    """Make sure that the values of a row have the right types.

    Raises:
        CheckpointError: One has not; the error begins with `where`.
    """
    step = row.get("step")
    _require(type(step) is int, where, "step", "a number of steps", step)
    data = row.get("data", [])
    _require(isinstance(data, list) and all(map(_is_file, data)), where, "data", "files", data)
    for group in ("standard_errors", "references"):
        _require(isinstance(row.get(group, {}), dict), where, group, "a table", row.get(group))
    for name, error in row.get("standard_errors", {}).items():
        _require(_is_number(error), where, f"standard_errors.{name}", "a number or null", error)
    for name, known in row.get("references", {}).items():
        fits = isinstance(known, dict) and all(map(_is_number, known.values()))
        _require(fits, where, f"references.{name}", "a table of numbers", known)
    for name in figures_of(row):
        value = row.get(name, "nothing")
        _require(_is_number(value), where, name, "a number or null", value)


def _is_file(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str)


def _is_number(value: Any) -> bool:
    return value is None or type(value) in (int, float)


def _require(fits: bool, where: str, name: str, wanted: str, value: Any) -> None:
    if not fits:
        raise CheckpointError(
            f"{where}: {name} must be {wanted}, got {value!r}; put it right, or remove that line"
        )
