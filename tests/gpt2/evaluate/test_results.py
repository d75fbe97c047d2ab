"""Results: the table, the JSON object, and a run's file."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from gpt2.evaluate.results import EVALUATIONS_FILE, Result, append_result

RESULT = Result(
    evaluation="hellaswag",
    counts={"rows": 10042},
    figures={"acc": 0.28919, "acc_norm": 0.31139, "worst": math.inf},
    standard_errors={"acc": 0.00452, "acc_norm": None},
    references={"acc_norm": {"GPT-2 124M": 0.2945, "GPT-2 355M": 0.3752}},
    notes=("completion style",),
)


def test_the_table_has_errors_and_published_figures_beside_each_figure() -> None:
    assert RESULT.to_text().splitlines() == [
        "# completion style",
        "          hellaswag  ± 1 s.e.  GPT-2 124M  GPT-2 355M",
        "acc          0.2892    0.0045",
        "acc_norm     0.3114                0.2945      0.3752",
        "worst           inf",
        "rows         10,042",
    ]


def test_published_figures_stand_in_the_order_of_the_fullest_row() -> None:
    references = {
        "a": {"small": 1.0, "large": 3.0},
        "b": {"small": 1.0, "middle": 2.0, "large": 3.0},
    }
    table = replace(RESULT, figures={"a": 0.0, "b": 0.0}, references=references).to_text()
    assert table.splitlines()[1].split()[-3:] == ["small", "middle", "large"]


def test_references_of_figures_that_were_not_measured_are_left_out() -> None:
    result = replace(RESULT, references={"acc": {"small": 1.0}, "other": {"large": 3.0}})
    assert result.to_row()["references"] == {"acc": {"small": 1.0}}
    assert "large" not in result.to_text()


def test_json_has_the_figures_and_null_where_one_is_not_finite() -> None:
    row = RESULT.to_row()
    json.dumps(row, allow_nan=False)
    assert row["acc"] == 0.28919
    assert row["worst"] is None
    assert row["rows"] == 10042
    assert row["standard_errors"] == {"acc": 0.00452, "acc_norm": None}
    assert row["references"]["acc_norm"]["GPT-2 355M"] == 0.3752
    assert row["evaluation"] == "hellaswag"


@pytest.mark.parametrize("before", [None, b'{"a": 1}\n', b'{"a": 1}'])
def test_a_row_is_appended_as_a_line(before: bytes | None, tmp_path: Path) -> None:
    if before is not None:
        (tmp_path / EVALUATIONS_FILE).write_bytes(before)
    append_result(tmp_path, {"b": 2})
    lines = (tmp_path / EVALUATIONS_FILE).read_text(encoding="utf-8").splitlines()
    assert list(map(json.loads, lines)) == [*([{"a": 1}] if before else []), {"b": 2}]
