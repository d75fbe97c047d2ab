"""The report of a run, from its settings, its metrics and its evaluations."""

import json
from pathlib import Path

import pytest

from gpt2.config import RunConfig
from gpt2.errors import CheckpointError
from gpt2.train.report import add_evaluations, write_report

STEP = (
    '{"step": %d, "loss": %s, "tokens": 64, "tokens_per_second": 9.0, "mfu": %s, '
    '"training_seconds": 2.0}\n'
)
VAL = '{"step": 2, "val_loss": %s, "val_tokens": 48, "evaluation_seconds": 0.5}\n'


def report(config: RunConfig, run: Path, metrics: str) -> str:
    (run / "config.toml").write_text(config.to_toml())
    (run / "metrics.jsonl").write_text(metrics)
    write_report(run, references={"another": 2.5}, processes=2)
    return (run / "report.md").read_text()


def test_a_run_that_changed_its_device_has_the_mfu_where_it_is_known(
    config: RunConfig, tmp_path: Path
) -> None:
    told = report(config, tmp_path, STEP % (1, 3.0, "null") + STEP % (2, 2.0, 0.25) + VAL % 2.25)
    assert "| speed | 32 tokens/s, MFU 0.25 |" in told
    assert "| another | 2.5000 nats/token |" in told
    assert "| hardware | 2 processes, each on " in told
    assert "| held-out loss, best | 2.2500 nats/token, step 2 |" in told


def test_steps_that_were_not_finite_are_counted_and_not_drawn(
    config: RunConfig, tmp_path: Path
) -> None:
    skipped = STEP % (2, "null", 0.25)
    skipped = skipped.replace("}", ', "skipped": true}')
    told = report(config, tmp_path, STEP % (1, 3.0, "null") + skipped + VAL % 2.25)
    assert "| steps | 2 of 6 |" in told
    assert "| steps skipped, not finite | 1 |" in told
    assert "| training loss, last step | 3.0000 nats/token |" in told


def test_a_run_without_a_finite_loss_has_a_report(config: RunConfig, tmp_path: Path) -> None:
    told = report(config, tmp_path, STEP % (1, "null", "null") + VAL % "null")
    assert "no rows of metrics with finite losses" in told


def test_rows_that_lack_figures_have_a_report_of_the_others(
    config: RunConfig, tmp_path: Path
) -> None:
    lines = '{"step": 1, "loss": 3.0, "seconds": 2.0}\n{"step": 1, "val_loss": 2.5}\n'
    text = report(config, tmp_path, lines)
    for line in (
        "| tokens read | unknown |",
        "| time in training steps | unknown |",
        "| time in evaluations | unknown, 1 times |",
        "| speed | unknown |",
        "| training loss, last step | 3.0000 nats/token |",
    ):
        assert line in text


def test_steps_that_took_no_time_have_a_report(config: RunConfig, tmp_path: Path) -> None:
    step = (STEP % (1, 3.0, "null")).replace('"training_seconds": 2.0', '"training_seconds": 0.0')
    assert "| speed | unknown |" in report(config, tmp_path, step + VAL % 2.25)


def test_a_last_held_out_loss_that_is_not_finite_is_not_hidden_by_one_before(
    config: RunConfig, tmp_path: Path
) -> None:
    text = report(config, tmp_path, STEP % (2, 3.0, "null") + VAL % 2.25 + VAL % "null")
    assert "| held-out loss, last evaluation | not finite |" in text
    assert "| held-out loss, best | 2.2500 nats/token, step 2 |" in text


EVALUATION = {
    "evaluation": "hellaswag",
    "step": 6,
    "completion_acc_norm": 0.25,
    "standard_errors": {"completion_acc_norm": 0.01},
    "references": {"completion_acc_norm": {"GPT-2 124M": 0.2945}},
}
LINE = "| hellaswag |  | 6 | completion_acc_norm | 0.25 ± 0.01 | GPT-2 124M 0.2945 |"


def headings(text: str) -> list[str]:
    return [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]


def test_the_report_has_a_verdict_and_no_evaluations_where_there_are_none(
    config: RunConfig, tmp_path: Path
) -> None:
    text = report(config, tmp_path, STEP % (1, 5.7, "null") + VAL % 2.25)
    assert headings(text) == ["Is this run normal?", "Settings"]
    assert "Nothing in its metrics is unusual. No bundled recipe has its settings" in text
    assert "| held-out loss | 2.25 |  |" in text


def test_the_report_has_the_evaluations_beside_other_models(
    config: RunConfig, tmp_path: Path
) -> None:
    (tmp_path / "evaluations.jsonl").write_text(json.dumps(EVALUATION) + "\n")
    text = report(config, tmp_path, STEP % (1, 5.7, "null") + VAL % 2.25)
    assert headings(text) == ["Is this run normal?", "Evaluations", "Settings"]
    assert LINE in text


def test_a_later_evaluation_changes_nothing_else_of_the_report(
    config: RunConfig, tmp_path: Path
) -> None:
    report(config, tmp_path, STEP % (1, 5.7, "null") + VAL % 2.25)
    sample = "## A sample\n\n```text\n\n## Evaluations\n\nwere never written\n```"
    write_report(tmp_path, sections=[sample])
    before = (tmp_path / "report.md").read_text()

    add_evaluations(tmp_path)
    assert (tmp_path / "report.md").read_text() == before

    (tmp_path / "evaluations.jsonl").write_text(json.dumps(EVALUATION) + "\n")
    for _ in range(2):
        add_evaluations(tmp_path)
        text = (tmp_path / "report.md").read_text()
        assert text.count(LINE) == 1
        assert "| hellaswag completion_acc_norm | 0.25 |  |" in text
    write_report(tmp_path, sections=[sample])
    assert (tmp_path / "report.md").read_text() == text


def test_a_report_of_an_older_version_gets_the_sections(config: RunConfig, tmp_path: Path) -> None:
    report(config, tmp_path, STEP % (1, 5.7, "null") + VAL % 2.25)
    (tmp_path / "report.md").write_text("# Training run\n\ntable\n\n## Settings\n\ntoml\n")
    add_evaluations(tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert headings(text) == ["Is this run normal?", "Settings"]
    assert text.endswith("## Settings\n\ntoml\n")


def test_what_someone_has_written_into_a_report_stays(config: RunConfig, tmp_path: Path) -> None:
    text = report(config, tmp_path, STEP % (1, 5.7, "null") + VAL % 2.25)
    (tmp_path / "evaluations.jsonl").write_text(json.dumps(EVALUATION) + "\n")
    edited = text.replace("\n## Is", "\n## Notes\n\nÄ\n\n## Is")
    edited = edited.replace("\n## Settings", "\n## Evaluations by hand\n\n3\n\n## Settings")
    (tmp_path / "report.md").write_bytes(edited.encode("latin-1"))
    for _ in range(2):
        add_evaluations(tmp_path)
        text = (tmp_path / "report.md").read_bytes().decode("latin-1")
        names = ["Is this run normal?", "Evaluations", "Evaluations by hand", "Settings"]
        assert headings(text) == ["Notes", *names]
    assert "\n## Notes\n\nÄ\n\n## Is" in text


def test_a_run_that_has_no_report_yet_gets_none(config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(config.to_toml())
    add_evaluations(tmp_path)
    assert not (tmp_path / "report.md").exists()


def test_a_damaged_line_of_evaluations_is_named(config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "evaluations.jsonl").write_text("{}\n{}\n")
    with pytest.raises(CheckpointError, match="evaluations.jsonl, line 1 is not an evaluation"):
        report(config, tmp_path, STEP % (1, 5.7, "null") + VAL % 2.25)
