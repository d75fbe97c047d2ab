"""A bundle of CORE's tasks: what is read of it, and what is refused."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

from gpt2.checksums import sha256_of
from gpt2.errors import DataError
from gpt2.evaluate.core_bundle import Example, example_of, read_bundle

ENTRY = {
    "label": "copa",
    "dataset_uri": "commonsense/copa.jsonl",
    "num_fewshot": [3],
    "icl_task_type": "multiple_choice",
    "continuation_delimiter": ": ",
    "has_categories": False,  # for another program
}
ROWS = [{"query": str(k), "choices": ["a", "b"], "gold": k % 2} for k in range(9)]
CSV = 'Eval Task,Task Category,Random baseline\n"other","x, y",\ncopa,"c",50.0\n'


def write(
    folder: Path,
    *,
    entries: Any = (ENTRY,),
    rows: Any = tuple(ROWS),
    baselines: str | None = CSV,
) -> Path:
    """Write a bundle of one task, or of what is given in its place."""
    text = entries if isinstance(entries, str) else yaml.safe_dump({"icl_tasks": [*entries]})
    (folder / "core.yaml").write_text(text, encoding="utf-8")
    if baselines is not None:
        (folder / "eval_meta_data.csv").write_text(baselines, encoding="utf-8")
    file = folder / "eval_data" / "commonsense" / "copa.jsonl"
    file.parent.mkdir(parents=True)
    lines = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
    file.write_text(lines, encoding="utf-8")
    return folder


def test_a_task_has_its_settings_and_its_rows_shuffled(tmp_path: Path) -> None:
    [task] = read_bundle(write(tmp_path)).tasks
    assert (task.label, task.kind, task.shots, task.baseline) == ("copa", "multiple_choice", 3, 0.5)
    order = list(range(9))
    random.Random(1337).shuffle(order)
    assert task.examples == [Example([f"{k}: a", f"{k}: b"], k % 2) for k in order]
    assert task.left_out == 0


def test_rows_are_left_out_after_they_are_shuffled(tmp_path: Path) -> None:
    [whole] = read_bundle(write(tmp_path)).tasks
    [task] = read_bundle(tmp_path, 4).tasks
    assert task.examples == whole.examples[:4]
    assert task.left_out == 5
    assert read_bundle(tmp_path, 100).tasks == [whole]


def test_without_a_delimiter_it_is_a_space(tmp_path: Path) -> None:
    entry = {key: value for key, value in ENTRY.items() if key != "continuation_delimiter"}
    [task] = read_bundle(write(tmp_path, entries=[entry])).tasks
    assert {option[1:] for example in task.examples for option in example.options} == {" a", " b"}


def test_each_file_is_named_once_with_its_checksum(tmp_path: Path) -> None:
    again = ENTRY | {"label": "copa again", "num_fewshot": [0]}
    csv = CSV + "copa again,c,50\n"
    bundle = read_bundle(write(tmp_path, entries=[ENTRY, again], baselines=csv))
    rows = tmp_path / "eval_data" / "commonsense" / "copa.jsonl"
    paths = [tmp_path / "core.yaml", tmp_path / "eval_meta_data.csv", rows]
    assert [(file.path, file.checksum) for file in bundle.files] == [
        (path, sha256_of(path)) for path in paths
    ]


def test_a_schema_has_its_contexts_and_a_text_its_beginning() -> None:
    row = {"context_options": ["a", "b "], "continuation": "c", "gold": 1}
    assert example_of("schema", " ", "", row) == Example(["a c", "b  c"], 1)
    row = {"context": " a \n", "continuation": " c "}
    assert example_of("language_modeling", " ", "", row) == Example(["a  c "], 0, "a ")


def refused(match: str, folder: Path, **others: Any) -> None:
    with pytest.raises(DataError, match=match) as caught:
        read_bundle(write(folder, **others))
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be a folder with core.yaml in it, and has none"):
        read_bundle(tmp_path)
    with pytest.raises(DataError, match="missing must be a folder"):
        read_bundle(tmp_path / "missing")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    refused("cannot read .*eval_meta_data.csv: No such file", tmp_path, baselines=None)


def test_missing_rows_are_named(tmp_path: Path) -> None:
    entry = ENTRY | {"dataset_uri": "other.jsonl"}
    refused("cannot read .*eval_data/other.jsonl: No such file", tmp_path, entries=[entry])


@pytest.mark.parametrize(
    ("entries", "match"),
    [
        ("a: [", "core.yaml must be YAML: while parsing"),
        ("a: 2024-13-45", "core.yaml must be YAML: month must be in 1..12"),
        ("a: 1", "core.yaml must have a list of tasks under the key 'icl_tasks'"),
        ("- a", "core.yaml must have a list of tasks under the key 'icl_tasks'"),
        ([], "core.yaml must have a list of tasks"),
        (["copa"], "core.yaml, task 1: it must be an object, got 'copa'"),
        ([ENTRY, {"label": "b"}], "task 2: it lacks dataset_uri"),
        (
            [ENTRY | {"icl_task_type": "generation"}],
            "task 1: icl_task_type must be one of .*schema",
        ),
        ([ENTRY | {"num_fewshot": []}], "task 1: num_fewshot must be a list of one number"),
        ([ENTRY | {"num_fewshot": [-1]}], "task 1: num_fewshot.0 must be a count"),
        ([ENTRY, ENTRY], "each task must have its own label, .*, got copa again"),
        ([ENTRY | {"label": "core"}], "each task must have its own label, .*, got core again"),
    ],
)
def test_a_list_of_tasks_that_is_none_is_refused(entries: Any, match: str, tmp_path: Path) -> None:
    refused(match, tmp_path, entries=entries)


@pytest.mark.parametrize(
    ("baselines", "match"),
    [
        ("Eval Task,Random baseline\nother,5\n", "copa must have a row with its 'Random b.* none"),
        ("Eval Task,Baseline\ncopa,5\n", "copa must have a row with its 'Random b.* got none"),
        (CSV.replace("50.0", "half"), "0 to below 100 per cent, got 'half'"),
        (CSV.replace("50.0", "100"), "0 to below 100 per cent, got '100'"),
        (CSV.replace("50.0", "nan"), "0 to below 100 per cent, got 'nan'"),
        ("x" * 200_000, "must be a table of comma-separated values"),
    ],
)
def test_a_task_without_a_baseline_is_refused(baselines: str, match: str, tmp_path: Path) -> None:
    refused(match, tmp_path, baselines=baselines)


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ({"choices": ["a"], "gold": 0}, "copa.jsonl, line 2 must have the key 'query'"),
        ({"query": "a", "choices": "ab", "gold": 0}, "line 2: 'choices' must be a list of texts"),
        ({"query": "a", "choices": [], "gold": 0}, "line 2: 'choices' must be a list of texts"),
        ({"query": 1, "choices": ["a"], "gold": 0}, "line 2: 'query' must be a text, got 1"),
        ({"query": "a", "choices": ["a", "b"], "gold": 2}, "line 2: 'gold' must be 0 to 1, got 2"),
        ({"query": "a", "choices": ["a", "b"], "gold": -1}, "line 2: 'gold' must be 0 to 1"),
        (["a"], "line 2 must be a JSON object"),
    ],
)
def test_a_row_of_another_form_is_refused(row: Any, match: str, tmp_path: Path) -> None:
    refused(match, tmp_path, rows=[ROWS[0], row])


def test_a_task_without_rows_is_refused(tmp_path: Path) -> None:
    refused("copa.jsonl is empty: wanted the rows of copa", tmp_path, rows="\n")
