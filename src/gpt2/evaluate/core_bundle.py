"""What is in a bundle of CORE's tasks: their settings, rows and random baselines.

    core.yaml              icl_tasks: a list of label, dataset_uri, num_fewshot and icl_task_type
    eval_meta_data.csv     "Eval Task" and "Random baseline", in per cent
    eval_data/DATASET_URI  JSON lines, a row each

Source: the bundle that nanochat downloads; its tasks are those of Li et al. 2024, DataComp-LM,
arXiv:2406.11794, and the form of its rows is that of MosaicML's llm-foundry.
"""

import csv
import io
import random
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import yaml  # type: ignore[import-untyped]

from gpt2.checksums import sha256_of
from gpt2.errors import DataError
from gpt2.evaluate.data_files import (
    DataFile,
    DataRow,
    index_at,
    read_rows,
    text_at,
    texts_at,
)
from gpt2.from_json import from_json
from gpt2.prepare.file_formats import named, read_text

TASKS_FILE, BASELINES_FILE, ROWS_FOLDER = "core.yaml", "eval_meta_data.csv", "eval_data"
BUNDLE_FOLDER = "eval_bundle"  # of the folder that nanochat unpacks the bundle into
TASK_COLUMN, BASELINE_COLUMN = "Eval Task", "Random baseline"
SHUFFLE_SEED = 1337

Kind = Literal["multiple_choice", "schema", "language_modeling"]


@dataclass(frozen=True)
class Example:
    """A row of a task, as texts."""

    options: list[str]  # each with its query or context; of language modelling, the only one
    gold: int  # index of the right one
    unanswered: str = ""  # of language modelling, the text before the continuation


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task, its rows in the order in which they are numbered."""

    label: str
    kind: Kind
    shots: int  # examples before each question
    baseline: float  # accuracy of a random guess, 0 to below 1
    data: str  # its file; tasks may share one
    examples: list[Example]
    left_out: int = 0  # rows of the file that are not among them


@dataclass(frozen=True)
class Bundle:
    """All tasks, and the files that they are read from."""

    tasks: list[Task]
    files: list[DataFile]


@dataclass(frozen=True)
class _Settings:
    """A task's entry in core.yaml, whose other keys are for other programs."""

    label: str
    dataset_uri: str
    num_fewshot: list[int]  # the first one counts
    icl_task_type: Kind
    continuation_delimiter: str


def read_bundle(directory: Path, max_per_task: int | None = None) -> Bundle:
    """Read the tasks of a bundle, and check every row.

    Args:
        directory: Of core.yaml, or the one above.
        max_per_task: Rows of each task, the first ones of its shuffled file; all if None.
    Raises:
        DataError: A file is missing or damaged, a task is of an unknown type or has no baseline, or
            a row is not of its task's form.
    """
    folder = _bundle_folder(directory)
    settings = _read_settings(folder / TASKS_FILE)
    baselines = _read_baselines(folder / BASELINES_FILE, [each.label for each in settings])
    tasks = [
        _read_task(folder / ROWS_FOLDER, each, baselines[each.label], max_per_task)
        for each in settings
    ]
    paths = {folder / ROWS_FOLDER / task.data: None for task in tasks}
    files = [_data_file(path) for path in (folder / TASKS_FILE, folder / BASELINES_FILE, *paths)]
    return Bundle(tasks, files)


def _bundle_folder(directory: Path) -> Path:
    for folder in (directory, directory / BUNDLE_FOLDER):
        if (folder / TASKS_FILE).exists():
            return folder
    raise DataError(
        f"{directory} must be a folder with {TASKS_FILE} in it, and has none: name the folder of "
        "nanochat's evaluation bundle"
    )


def _data_file(path: Path) -> DataFile:
    with named(path):
        return DataFile(path, sha256_of(path), path.as_posix())


def _read_settings(path: Path) -> list[_Settings]:
    try:
        content = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that is none
        raise DataError(f"{path} must be YAML: {' '.join(str(error).split())}") from None
    entries = content.get("icl_tasks") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not entries:
        raise DataError(f"{path} must have a list of tasks under the key 'icl_tasks'")
    settings = [_settings_of(f"{path}, task {n}", entry) for n, entry in enumerate(entries, 1)]
    names = ["core", *(each.label for each in settings)]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise DataError(
            f"{path}: each task must have its own label, other than core, got {repeated[-1]} again"
        )
    return settings


def _settings_of(place: str, entry: Any) -> _Settings:
    known = [field.name for field in fields(_Settings)]
    if isinstance(entry, dict):
        entry = {"continuation_delimiter": " "} | entry
        entry = {key: value for key, value in entry.items() if key in known}
    try:
        settings = from_json(_Settings, entry)
    except ValueError as error:
        raise DataError(f"{place}: {error}") from None
    if not settings.num_fewshot:
        raise DataError(f"{place}: num_fewshot must be a list of one number, got none")
    return settings


def _read_baselines(path: Path, labels: list[str]) -> dict[str, float]:
    """Return the accuracy of a random guess for each task, 0 to below 1."""
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(path), newline="")))
    except csv.Error as error:
        raise DataError(f"{path} must be a table of comma-separated values: {error}") from None
    found = {row.get(TASK_COLUMN): row.get(BASELINE_COLUMN) for row in rows}
    return {label: _baseline(f"{path}: {label}", found.get(label)) for label in labels}


def _baseline(place: str, text: str | None) -> float:
    try:
        per_cent = float(text or "")
    except ValueError:
        per_cent = -1.0
    if not 0 <= per_cent < 100:
        raise DataError(
            f"{place} must have a row with its {BASELINE_COLUMN!r}, 0 to below 100 per cent, got "
            f"{'none' if text is None else repr(text)}"
        )
    return 0.01 * per_cent


def _read_task(
    folder: Path, settings: _Settings, baseline: float, max_per_task: int | None
) -> Task:
    path = folder / settings.dataset_uri
    kind, delimiter = settings.icl_task_type, settings.continuation_delimiter
    examples = [example_of(kind, delimiter, place, row) for place, row in read_rows(path)]
    if not examples:
        raise DataError(f"{path} is empty: wanted the rows of {settings.label}")
    random.Random(SHUFFLE_SEED).shuffle(examples)
    kept = examples[:max_per_task]
    return Task(
        label=settings.label,
        kind=kind,
        shots=settings.num_fewshot[0],
        baseline=baseline,
        data=settings.dataset_uri,
        examples=kept,
        left_out=len(examples) - len(kept),
    )


def example_of(kind: Kind, delimiter: str, place: str, row: DataRow) -> Example:
    """Return a row of a task as texts.

    Args:
        kind: Of the task.
        delimiter: Between a question and an answer.
        place: Of the row, for errors.
        row: As it is in the file.
    Raises:
        DataError: The row is not of its task's form.
    """
    if kind == "language_modeling":
        unanswered = text_at(place, row, "context").strip() + delimiter
        return Example([unanswered + text_at(place, row, "continuation")], 0, unanswered)
    if kind == "schema":
        contexts = texts_at(place, row, "context_options")
        continuation = text_at(place, row, "continuation")
        options = [context + delimiter + continuation for context in contexts]
    else:
        query, choices = text_at(place, row, "query"), texts_at(place, row, "choices")
        options = [query + delimiter + choice for choice in choices]
    return Example(options, index_at(place, row, "gold", len(options)))
