"""The rows of evaluations.jsonl, and their table."""

import json
from pathlib import Path
from typing import Any

import pytest

from gpt2.errors import CheckpointError
from gpt2.train.evaluations import (
    EVALUATIONS_FILE,
    drop_evaluations_after,
    evaluations_table,
    read_evaluations,
)

HELLASWAG: dict[str, Any] = {
    "evaluation": "hellaswag",
    "model": "runs/x",
    "step": 900,
    "data": [["hs.jsonl", "a1"]],
    "rows": 10042,
    "acc": 0.2892,
    "acc_norm": 0.3114,
    "perplexity": 35.13,
    "standard_errors": {"acc": 0.0045, "acc_norm": 0.0046, "perplexity": None},
    "references": {"acc_norm": {"GPT-2 124M": 0.2945, "GPT-2 355M": 0.3752}},
    "seconds": 12.3,
}


def write(run: Path, *rows: dict[str, Any], end: str = "") -> None:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (run / EVALUATIONS_FILE).write_text(lines + end)


def test_a_run_without_evaluations_has_no_rows(tmp_path: Path) -> None:
    assert read_evaluations(tmp_path) == []


def test_each_figure_is_a_line_beside_the_models_that_are_known() -> None:
    assert evaluations_table([HELLASWAG]).splitlines() == [
        "| evaluation | data | step | figure | this run ± standard error | references |",
        "|---|---|---|---|---|---|",
        "| hellaswag | hs.jsonl | 900 | acc | 0.2892 ± 0.0045 |  |",
        "| hellaswag | hs.jsonl | 900 | acc_norm | 0.3114 ± 0.0046 | "
        "GPT-2 124M 0.2945, GPT-2 355M 0.3752 |",
        "| hellaswag | hs.jsonl | 900 | perplexity | 35.13 |  |",
    ]


def test_a_figure_that_is_not_finite_is_named_so_and_a_text_stays_in_its_cell() -> None:
    row = HELLASWAG | {"evaluation": "a|b\n## c", "acc": None, "references": {}}
    assert "| a\\|b ## c | hs.jsonl | 900 | acc | not finite ± 0.0045 |  |" in evaluations_table(
        [row]
    )


def test_an_evaluation_that_was_repeated_counts_once(tmp_path: Path) -> None:
    write(tmp_path, HELLASWAG, HELLASWAG | {"step": 450}, HELLASWAG | {"acc": 0.5})
    assert [(row["step"], row["acc"]) for row in read_evaluations(tmp_path)] == [
        (900, 0.5),
        (450, 0.2892),
    ]


def test_the_same_evaluation_on_other_data_counts_by_itself(tmp_path: Path) -> None:
    other = HELLASWAG | {"data": [["b.jsonl", "b2"], ["c.jsonl", "c3"]]}
    write(tmp_path, HELLASWAG, other)
    assert read_evaluations(tmp_path) == [HELLASWAG, other]
    assert "| hellaswag | b.jsonl and 1 more | 900 | acc |" in evaluations_table([other])
    assert "| hellaswag |  | 900 | acc |" in evaluations_table([HELLASWAG | {"data": []}])


def test_the_name_of_a_file_that_is_no_utf_8_can_be_written(tmp_path: Path) -> None:
    evaluations_table([HELLASWAG | {"data": [["\udcff.txt", "a1"]]}]).encode()


def test_a_last_line_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    write(tmp_path, HELLASWAG, end='{"evaluation": "hel')
    assert read_evaluations(tmp_path) == [HELLASWAG]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"evaluation": 3}, "line 1 is not an evaluation"),
        ({"step": "900"}, "line 1: step must be a number of steps, got '900'"),
        ({"data": "hs.jsonl"}, "line 1: data must be files, got 'hs.jsonl'"),
        ({"data": [3]}, "line 1: data must be files, got [3]"),
        ({"acc": "high"}, "line 1: acc must be a number or null, got 'high'"),
        ({"acc": True}, "line 1: acc must be a number or null, got True"),
        ({"standard_errors": []}, "line 1: standard_errors must be a table"),
        ({"standard_errors": {"acc": "x"}}, "standard_errors.acc must be a number or null"),
        ({"references": {"acc": 0.3}}, "references.acc must be a table of numbers, got 0.3"),
        ({"references": {"other": {}}}, "other must be a number or null, got 'nothing'"),
    ],
)
def test_a_wrong_line_is_named_with_what_to_do(
    wrong: dict[str, Any], message: str, tmp_path: Path
) -> None:
    write(tmp_path, HELLASWAG | wrong, HELLASWAG)
    with pytest.raises(CheckpointError, match="remove that line") as raised:
        read_evaluations(tmp_path)
    assert message in str(raised.value)


def test_rows_of_later_steps_are_dropped_and_the_others_stay_to_the_byte(tmp_path: Path) -> None:
    earlier = json.dumps(HELLASWAG | {"step": 300}, indent=None, separators=(",", ":")) + "\n"
    drop_evaluations_after(tmp_path, 300)  # a run without evaluations
    write(tmp_path, HELLASWAG, end=earlier)
    drop_evaluations_after(tmp_path, 300)
    assert (tmp_path / EVALUATIONS_FILE).read_text(encoding="utf-8") == earlier
