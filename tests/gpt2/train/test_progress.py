import sys

import pytest

from gpt2.train.progress import display


def step_row(step: int, seconds: float) -> dict[str, float]:
    return {
        "step": step,
        "loss": 3.25,
        "learning_rate": 6e-4,
        "grad_norm": 0.5,
        "tokens_per_second": 12345.6,
        "mfu": 0.43,
        "tokens": step * 64,
        "training_seconds": seconds,
    }


def test_off_a_terminal_lines_come_first_last_and_every_ten_seconds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with display(0, 40) as show:
        for step in range(1, 41):
            show(step_row(step, seconds=step * 1.0))
        show({"step": 40, "val_loss": 3.5, "val_tokens": 100})
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == [
        "1/40",
        "11/40",
        "21/40",
        "31/40",
        "40/40",
        "40/40",
    ]
    assert (
        lines[1]
        == "step 11/40  loss 3.250  lr 6.0e-04  norm 0.50  12,346 tok/s  MFU 43%  29 s left"
    )
    assert lines[-1] == "step 40/40  val 3.500"


def test_on_a_terminal_a_bar_shows_the_same_figures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "150")
    with display(0, 4) as show:
        show({"step": 2, "val_loss": 3.5, "val_tokens": 100})
        show(step_row(2, 1.0))
    shown = capsys.readouterr().err
    for figure in (
        "2/4",
        "loss 3.250",
        "lr 6.0e-04",
        "norm 0.50",
        "12,346 tok/s",
        "MFU 43%",
        "val 3.500",
        "left",
    ):
        assert figure in shown


def test_samples_and_skipped_steps_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    sample = {"prompt": "a [b]", "text": "c\nd"}
    with display(0, 4) as show:
        show({"step": 2, "val_loss": 3.5, "val_tokens": 100, "samples": [sample]})
        show(step_row(2, 1.0) | {"skipped": True, "loss": float("nan")})
    shown = capsys.readouterr().err
    assert "'a [b]' 'c\\nd'" in shown
    assert "step 2/4  skipped: its loss or gradient norm is not finite" in shown
