"""`gpt2 plot loss` and `gpt2 plot history`: pictures of runs, and what they refuse."""

import json
from pathlib import Path

import pytest
from PIL import Image

from gpt2.cli.main import main
from gpt2.files.pretrained import GPT2
from gpt2.visual.moments import observe, write_moment

ROW = '{"step": %d, "loss": %s, "tokens": %d, "training_seconds": 9.0}\n'


@pytest.fixture
def run(model: GPT2, tmp_path: Path) -> Path:
    """A run directory with metrics and two moments."""
    directory = tmp_path / "run"
    directory.mkdir()
    (directory / "metrics.jsonl").write_text(
        ROW % (1, 5.5, 64) + ROW % (2, 4.5, 128) + '{"step": 2, "val_loss": 4.75}\n'
    )
    for step in (0, 2):
        write_moment(directory, observe(model, [5, 6, 7], step=step, tokens=64 * step))
    return directory


def test_the_losses_of_runs_are_drawn_and_printed(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "metrics.jsonl").write_text(ROW % (1, 6.5, 64))
    out = tmp_path / "loss.svg"
    flags = ["--over", "tokens", "--log", "--references", "GPT-2 124M=3.29"]
    assert main(["plot", "loss", str(run), str(other), "--out", str(out), *flags]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert "<svg" in out.read_text()
    assert main(["plot", "loss", str(run), str(other), "--json", *flags]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert [curves["run"] for curves in numbers["runs"]] == ["run", "other"]
    assert numbers["runs"][0]["x"] == [64.0, 128.0]
    assert numbers["references"] == {"GPT-2 124M": 3.29}


@pytest.mark.parametrize("picture", ["positions", "weights", "attention", "loss"])
@pytest.mark.parametrize("name", ["a.png", "a.gif"])
def test_each_picture_across_a_run_is_an_image_or_an_animation(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], picture: str, name: str
) -> None:
    out = tmp_path / name
    command = ["plot", "history", str(run), "--picture", picture, "--out", str(out)]
    assert main(command) == 0
    assert capsys.readouterr().out == f"{out}\n"
    with Image.open(out) as image:
        assert image.format == name[2:].upper()
    assert main(command) == 1
    assert "is there already; choose another --out" in capsys.readouterr().err
    assert main([*command, "--force", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"]


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["loss", "nowhere"], "nowhere holds no metrics.jsonl with rows to draw"),
        (["loss"], "runs must be 1 to 7, got 0"),
        (["loss", "run", "--references", "3.29"], "--references must be NAME=NATS"),
        (["loss", "run", "--references", "GPT-2=nan"], "--references must be NAME=NATS"),
        (["loss", "run", "--references", "a=1", "a=2"], "must have each name once, got 'a' twice"),
        (["history", "nowhere"], "nowhere holds no moments to draw; train with --history.moments"),
        (["history", "run", "--out", "a.xyz"], "an image must end in one of"),
        (["history", "run", "--picture", "attention", "--head", "7"], "head must be one of"),
        (["history", "run", "--head", "1"], "--block and --head go with --picture attention"),
    ],
    ids=str,
)
def test_what_cannot_be_drawn_is_one_line(
    run: Path,
    command: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(run.parent)
    assert main(["plot", *command]) in (1, 2)
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert [path.name for path in run.parent.iterdir()] == ["run"]
