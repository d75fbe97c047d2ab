"""What all evaluations do: figures go to the run of the model, progress counts on from a stop."""

import json
from pathlib import Path
from typing import Any

import pytest

from gpt2.cli.eval.flags import shown
from gpt2.cli.main import main
from gpt2.files.pretrained import GPT2

TEXT = "Permission is granted. 日本\r\n" * 20


def a_run(model: GPT2, folder: Path) -> Path:
    """Return a run directory whose only checkpoint is of step 7."""
    model.save_pretrained(folder / "checkpoints" / "step_00000007")
    (folder / "config.toml").write_text("", encoding="utf-8")
    return folder


def test_figures_of_a_run_are_added_to_its_evaluations(
    model: GPT2, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = a_run(model, tmp_path / "run")
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    args = ["--model", str(run), "--data", str(tmp_path / "text.txt"), "--json"]
    for _ in range(2):
        assert main(["eval", "perplexity", *args]) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    lines = (run / "evaluations.jsonl").read_text(encoding="utf-8").splitlines()
    assert list(map(json.loads, lines)) == printed
    assert printed[0]["step"] == 7
    assert printed[0]["evaluation"] == "perplexity"


@pytest.mark.parametrize("name", ["step_00000007.damaged", "step_old"])
def test_a_folder_beside_the_checkpoints_is_a_model_of_no_run(
    name: str, model: GPT2, tmp_path: Path
) -> None:
    run = a_run(model, tmp_path / "run")
    (run / "checkpoints/step_00000007").rename(run / "checkpoints" / name)
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    args = ["--model", str(run / "checkpoints" / name), "--data", str(tmp_path / "text.txt")]
    assert main(["eval", "perplexity", *args]) == 0
    assert not (run / "evaluations.jsonl").exists()


@pytest.mark.parametrize(("folder", "name"), [("step_00000007", "."), (".", "step_00000007")])
def test_a_checkpoint_that_is_named_from_inside_the_run_is_of_the_run(
    folder: str, name: str, model: GPT2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(model, tmp_path / "run")
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    monkeypatch.chdir(run / "checkpoints" / folder)
    args = ["--model", name, "--data", str(tmp_path / "text.txt")]
    assert main(["eval", "perplexity", *args]) == 0
    assert json.loads((run / "evaluations.jsonl").read_text(encoding="utf-8"))["step"] == 7


def test_a_checkpoint_that_appears_meanwhile_is_not_the_one_that_is_measured(
    model: GPT2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, opened = a_run(model, tmp_path / "run"), []
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    from_pretrained = GPT2.from_pretrained

    def open_late(name: str, **settings: Any) -> GPT2:
        opened.append(Path(name).name)
        return from_pretrained(name, **settings)

    def save_another(directory: Path) -> Path:
        model.save_pretrained(run / "checkpoints" / "step_00000008")
        return run / "checkpoints" / "step_00000007"

    monkeypatch.setattr("gpt2.files.names.locate", save_another)
    monkeypatch.setattr(GPT2, "from_pretrained", open_late)
    args = ["--model", str(run), "--data", str(tmp_path / "text.txt")]
    assert main(["eval", "perplexity", *args]) == 0
    assert opened == ["step_00000007"]
    assert json.loads((run / "evaluations.jsonl").read_text(encoding="utf-8"))["step"] == 7


def test_figures_are_printed_although_the_run_does_not_take_them(
    model: GPT2, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = a_run(model, tmp_path / "run")
    (run / "evaluations.jsonl").mkdir()
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    args = ["--model", str(run), "--data", str(tmp_path / "text.txt")]
    assert main(["eval", "perplexity", *args]) == 1
    captured = capsys.readouterr()
    assert "nats_per_token" in captured.out
    assert "evaluations.jsonl" in captured.err


def test_after_a_resumption_the_time_left_is_counted_from_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    with shown("rows") as show:
        show(90, 100)  # of an earlier start
        clock[0] = 1.0
        show(91, 100)
    assert "91 of 100 rows, 1.0 rows/s  9 s left" in capsys.readouterr().err
