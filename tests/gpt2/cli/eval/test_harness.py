"""`gpt2 eval harness`: its output, its errors, and its resumption."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lm_eval.tasks import TaskManager

from gpt2.cli.main import main
from gpt2.evaluate import scoring
from gpt2.evaluate.scoring import Scorer
from gpt2.files.pretrained import GPT2

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:::{package}") for package in ("lm_eval", "datasets", "dill")
]

TASK = {
    "task": "last_word",
    "dataset_path": "json",
    "dataset_name": None,
    "output_type": "loglikelihood",
    "test_split": "test",
    "doc_to_text": "{{text}}",
    "doc_to_target": " it",
    "metric_list": [{"metric": "acc"}, {"metric": "perplexity"}],
    "metadata": {"version": 1.0},
}


@pytest.fixture
def command(model: GPT2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A command that runs a task of 5 rows, all of them local."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("lm_eval.evaluator.add_env_info", lambda found: found.update(VERSION))
    monkeypatch.setattr("lm_eval.tasks.TaskManager", partial(TaskManager, include_defaults=False))
    monkeypatch.setenv("DISABLE_MULTIPROC", "1")
    folder = tmp_path / "tasks"
    folder.mkdir()
    rows = [json.dumps({"text": "to use the Software " * count}) for count in range(1, 6)]
    (folder / "rows.jsonl").write_text("\n".join(rows))
    files = {"dataset_kwargs": {"data_files": {"test": str(folder / "rows.jsonl")}}}
    (folder / "task.yaml").write_text(json.dumps(TASK | files))
    model.save_pretrained(tmp_path / "model")
    model_flags = ["--model", str(tmp_path / "model"), "--include-path", str(folder)]
    return ["eval", "harness", "--tasks", "last_word", *model_flags]


def with_flag(command: list[str], flag: str, value: str) -> list[str]:
    """Return a command whose flag has another value."""
    place = command.index(flag) + 1
    return [*command[:place], value, *command[place + 1 :]]


VERSION = {"lm_eval_version": "0.4.13"}


def test_a_task_has_a_figure_a_metric_with_its_standard_error(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["last_word rows"] == 5
    assert found["last_word perplexity"] > 1
    assert set(found["standard_errors"]) == {"last_word acc", "last_word perplexity"}
    assert main([*command, "--limit", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["# lm-eval 0.4.13", "# 0-shot: last_word 1.0"]
    assert lines[-1].split() == ["last_word", "rows", "2"]


def test_figures_of_a_run_are_added_to_its_evaluations(
    command: list[str], model: GPT2, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "run" / "checkpoints" / "step_00000007"
    model.save_pretrained(checkpoint)
    assert main([*with_flag(command, "--model", str(checkpoint)), "--json"]) == 0
    [line] = (tmp_path / "run" / "evaluations.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == json.loads(capsys.readouterr().out)


def test_a_task_without_a_version_has_none_in_the_notes(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "tasks" / "task.yaml"
    task = json.loads(file.read_text())
    del task["metadata"]
    file.write_text(json.dumps(task))
    assert main(with_flag(command, "--tasks", "last_word,")) == 0
    assert capsys.readouterr().out.splitlines()[1] == "# 0-shot: last_word"


def test_without_lm_eval_a_line_says_what_to_install(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt2.cli.eval.harness.find_spec", lambda name: None)
    assert main(command) == 1
    error = capsys.readouterr().err
    assert error == (
        "error: gpt2 eval harness needs lm-eval: pip install 'gpt2-from-scratch[harness]'\n"
    )


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["--limit", "0"], "limit must be at least 1, got 0"),
        (["--num-fewshot", "-1"], "num_fewshot must be at least 0, got -1"),
    ],
)
def test_a_flag_out_of_range_is_refused(
    flags: list[str], error: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, *flags]) != 0
    assert error in capsys.readouterr().err


def test_no_task_is_refused(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(with_flag(command, "--tasks", " ,")) == 2
    assert "tasks must name a task; lm-eval ls tasks lists them" in capsys.readouterr().err


def test_a_task_that_is_not_there_is_refused_in_one_line(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    command[command.index("last_word")] = "last_word,first_word"
    assert main(command) == 1
    *_, line = capsys.readouterr().err.splitlines()
    assert line == "error: lm-eval has no task 'first_word'; near it: last_word"


def test_a_run_that_was_interrupted_goes_on_from_what_is_done(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main([*command, "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    monkeypatch.setitem(scoring.PREFERRED_TOKENS, "cpu", 1)  # a row a pass
    run, passes = Scorer.run, []

    def interrupted(scorer: Scorer, rows: Any) -> Any:
        if len(passes) == 2:
            raise KeyboardInterrupt
        passes.append(rows)
        return run(scorer, rows)

    monkeypatch.setattr(Scorer, "run", interrupted)
    assert main([*command, "--json"]) == 130
    monkeypatch.setattr(Scorer, "run", lambda *args: passes.append(args[1]) or run(*args))
    passes.clear()
    assert main([*command, "--json", "--resume"]) == 0
    assert len(passes) == 3
    found = json.loads(capsys.readouterr().out)
    assert found["last_word perplexity"] == pytest.approx(whole["last_word perplexity"])
