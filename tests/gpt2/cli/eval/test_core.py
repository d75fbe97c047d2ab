"""`gpt2 eval core`: of a small bundle, in part, and resumed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpt2.cli.main import main
from gpt2.evaluate.core import core
from gpt2.evaluate.core_bundle import read_bundle
from gpt2.evaluate.measure import KeptRows
from gpt2.evaluate.scoring import Scorer
from gpt2.files.pretrained import GPT2

CHOICES = [{"query": f"it {k}", "choices": ["is", "a", "of"], "gold": k % 3} for k in range(20)]
TEXTS = [{"context": "the " * k, "continuation": "sale"} for k in range(1, 8)]
TASKS = """
icl_tasks:
- {label: piqa, dataset_uri: a.jsonl, num_fewshot: [1], icl_task_type: multiple_choice}
- {label: texts, dataset_uri: b.jsonl, num_fewshot: [2], icl_task_type: language_modeling}
"""


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "eval_bundle"
    (folder / "eval_data").mkdir(parents=True)
    (folder / "core.yaml").write_text(TASKS)
    (folder / "eval_meta_data.csv").write_text("Eval Task,Random baseline\npiqa,25\ntexts,0\n")
    for name, rows in (("a", CHOICES), ("b", TEXTS)):
        lines = "\n".join(json.dumps(row) for row in rows)
        (folder / "eval_data" / f"{name}.jsonl").write_text(lines)
    return tmp_path


@pytest.fixture
def command(model: GPT2, bundle: Path) -> list[str]:
    model.save_pretrained(bundle / "model")
    return ["eval", "core", "--model", str(bundle / "model"), "--data", str(bundle)]


@pytest.fixture
def figures(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> Callable[..., dict[str, Any]]:
    def measure(*flags: str) -> dict[str, Any]:
        assert main([*command, "--json", *flags]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return {name: value for name, value in found.items() if name != "seconds"}

    return measure


def test_core_is_printed_as_a_table_and_as_json(
    command: list[str],
    figures: Callable[..., dict[str, Any]],
    model: GPT2,
    bundle: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(command) == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines()[-1].startswith("100%")
    assert "27 of 27 rows" in captured.err
    expected = core(Scorer(model), read_bundle(bundle).tasks)
    assert captured.out == expected.to_text() + "\n"
    found = figures()
    assert found["core"] == pytest.approx(expected.figures["core"])
    assert found["intervals"]["core"] == pytest.approx(list(expected.intervals["core"]))
    assert (found["tasks"], found["rows"]) == (2, 27)
    assert [Path(name).name for name, _ in found["data"]] == [
        "core.yaml",
        "eval_meta_data.csv",
        "a.jsonl",
        "b.jsonl",
    ]


def test_a_part_of_each_task_can_be_measured(
    figures: Callable[..., dict[str, Any]], model: GPT2, bundle: Path
) -> None:
    found = figures("--max-per-task", "5")
    expected = core(Scorer(model), read_bundle(bundle, 5).tasks)
    assert found["rows"] == 10
    assert found["piqa"] == expected.figures["piqa"]
    assert "17 are left out" in " ".join(found["notes"])


def test_an_evaluation_that_was_stopped_goes_on_where_it_was(
    command: list[str],
    figures: Callable[..., dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected = figures()
    add, added = KeptRows.add, []

    def add_twelve(kept: KeptRows, number: int, numbers: list[float]) -> None:
        if len(added) == 12:
            raise KeyboardInterrupt
        added.append(number)
        add(kept, number, numbers)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KeptRows, "add", add_twelve)
        assert main(command) == 130
    assert "12 are done" in capsys.readouterr().err
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KeptRows, "add", lambda _, number, numbers: added.append(number))
        assert figures("--resume") == expected
    assert len(added) == len(set(added))  # none was scored twice
    assert len(added) >= 27


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["--data", "missing"], "missing must be a folder with core.yaml in it"),
        (["--data", "missing", "--max-per-task", "0"], "max-per-task must be at least 1, got 0"),
    ],
)
def test_a_mistake_is_one_line_before_a_model_is_loaded(
    flags: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "core", "--model", "no/model", *flags]) != 0
    captured = capsys.readouterr()
    assert error in captured.err
    assert captured.err.count("\n") == 1
