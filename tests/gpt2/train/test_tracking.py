from dataclasses import replace
from pathlib import Path

import pytest

from gpt2.config import RunConfig
from gpt2.errors import ConfigError
from gpt2.train.metrics import read_metrics
from gpt2.train.run import resume, start


def tracked(config: RunConfig, **training: object) -> RunConfig:
    return replace(config, training=replace(config.training, **training))


def test_tensorboard_shows_the_metrics_of_a_run_and_of_its_resumption(
    config: RunConfig, tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = tracked(config, track="tensorboard")
    start(
        replace(config, checkpoint=replace(config.checkpoint, every=3, keep_best=False)), tmp_path
    )
    (tmp_path / "checkpoints/step_00000006").rename(tmp_path / "aside")
    resume(tmp_path)  # from step 3: those after it come again
    shown = EventAccumulator(str(tmp_path / "tensorboard"))
    shown.Reload()
    rows = read_metrics(tmp_path)
    for name, key in (("training/loss", "loss"), ("evaluation/val_loss", "val_loss")):
        expected = [(row["step"], row[key]) for row in rows if key in row]
        found = [(event.step, event.value) for event in shown.Scalars(name)]
        assert [step for step, _ in found] == [step for step, _ in expected]
        for (_, value), (_, wanted) in zip(found, expected, strict=True):
            assert value == pytest.approx(wanted)


@pytest.mark.filterwarnings("ignore")  # of wandb and of what it imports
def test_wandb_keeps_the_metrics_offline_and_its_id_when_resumed(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    start(tracked(config, track="wandb"), tmp_path)
    [log] = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    name = (tmp_path / "wandb_id.txt").read_text()
    assert log.name == f"run-{name}.wandb"
    assert b"evaluation/val_loss" in log.read_bytes()
    resume(tmp_path)
    assert (tmp_path / "wandb_id.txt").read_text() == name


@pytest.mark.filterwarnings("ignore")
def test_what_wandb_refuses_is_told_in_a_sentence(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    def refuse(**_: object) -> None:
        raise wandb.Error("No API key configured.")

    monkeypatch.setattr("wandb.init", refuse)
    with pytest.raises(ConfigError, match="No API key configured. Or keep .* WANDB_MODE=offline"):
        start(tracked(config, track="wandb"), tmp_path)


def test_a_tracker_that_is_not_installed_is_told_before_anything_is_written(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt2.train.tracking.find_spec", lambda name: None)
    told = r"track wandb needs wandb, .* pip install 'gpt2-from-scratch\[tracking\]'"
    with pytest.raises(ConfigError, match=told):
        start(tracked(config, track="wandb"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
