"""`gpt2 eval run`: the figures and the verdict, as a table and as JSON."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from gpt2.cli.main import main
from gpt2.config import RECIPES, DataConfig, RunConfig
from gpt2.train.normality.known_ranges import HELD_OUT, known_ranges


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A demo whose last held-out loss is 7, far above the band."""
    recipe = RunConfig.from_toml(RECIPES / "demo.toml")
    config = replace(recipe, data=DataConfig(directory=tmp_path / "gone"))
    (tmp_path / "config.toml").write_text(config.to_toml())
    rows = [{"step": 900, "loss": 6.9}, {"step": 900, "val_loss": 7.0}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_a_run_is_printed_beside_its_recipe(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "run", str(run)]) == 0
    head, held_out, training, empty, line = capsys.readouterr().out.splitlines()
    known = known_ranges("demo", 900, 900)
    assert head.split("  ")[0] == "figure"
    assert held_out == f"held-out loss          7  {known[HELD_OUT]}"
    assert training.startswith("training loss        6.9  ")
    assert empty == ""
    assert line.startswith("Higher than normal: the held-out loss is 7.000 nats/token at step 900")
    assert f"the range of recipe demo is {known[HELD_OUT]}" in line


def test_the_same_is_one_json_object(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "run", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["match"]["recipe"], found["step"], found["steps"]) == ("demo", 900, 900)
    assert found["figures"][0]["value"] == 7.0
    assert found["line"].startswith("Higher than normal")


def test_a_run_that_has_just_begun_has_a_verdict(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run / "metrics.jsonl").unlink()
    assert main(["eval", "run", str(run)]) == 0
    assert capsys.readouterr().out.startswith("No finite loss has been recorded")


def test_what_is_no_run_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "run", str(tmp_path)]) == 1
    assert "holds no run: no config.toml there; name a run directory" in capsys.readouterr().err
