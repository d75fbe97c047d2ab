"""What a card takes from the files of a run, which these tests write themselves."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from gpt2.config import DataConfig, PrepareConfig, RunConfig
from gpt2.data.manifest import fingerprint_of, read_manifest
from gpt2.errors import CheckpointError
from gpt2.files.training_state import SavedState
from gpt2.prepare.pipeline import prepare
from gpt2.prepare.sources import in_memory
from gpt2.train.card_facts import CardFacts, read_card_facts
from llm_tokenizer import Tokenizer


def write_run(run: Path, config: RunConfig, fingerprint: str, step: int = 4) -> Path:
    """Write what is read of a run, and return its checkpoint."""
    checkpoint = run / f"checkpoints/step_{step:08d}"
    checkpoint.mkdir(parents=True)
    state = SavedState(
        step=step,
        tokens=64 * step,
        settings=config.to_sections(),
        data_fingerprint=fingerprint,
        optimizer_kinds=["AdamW"],
        versions={"torch": "9.9"},
    )
    (checkpoint / "training_state.json").write_text(json.dumps(asdict(state)))
    (run / "config.toml").write_text(config.to_toml())
    rows = [{"step": k, "loss": 5.0 - k / 10, "mfu": k / 10} for k in range(1, 7)]
    rows += [{"step": k, "val_loss": 4.0 - k / 10, "val_tokens": 48} for k in (2, 4, 6)]
    lines = [json.dumps(row) for row in sorted(rows, key=lambda row: row["step"])]
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    return checkpoint


@pytest.fixture
def facts(config: RunConfig, shards: Path, tmp_path: Path) -> CardFacts:
    run = tmp_path / "run"
    checkpoint = write_run(run, config, read_manifest(shards).fingerprint)
    rows = [
        {"evaluation": "cloze", "step": step, "accuracy": 0.5, "standard_errors": {"accuracy": 0.1}}
        for step in (2, 4, 6)
    ]
    (run / "evaluations.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (run / "report.md").write_text("# Training run\n\n| hardware | 2 processes, each on X |\n")
    return read_card_facts(checkpoint)


def test_the_figures_are_those_of_the_checkpoint_and_of_what_came_before(facts: CardFacts) -> None:
    assert [row["step"] for row in facts.rows if "loss" in row] == [1, 2, 3, 4]
    assert [row["step"] for row in facts.evaluations] == [4]
    assert facts.last_evaluation == {"step": 4, "val_loss": 3.6, "val_tokens": 48}
    assert facts.mfu == pytest.approx(0.25)
    assert facts.curves is not None
    assert facts.curves.runs[0].steps.tolist() == [1, 2, 3, 4]
    assert (facts.picture() or b"").startswith(b"\x89PNG")


def test_the_hardware_is_that_of_the_report(facts: CardFacts) -> None:
    assert facts.hardware == "2 processes, each on X"


def test_without_a_report_the_hardware_is_unknown(
    config: RunConfig, shards: Path, tmp_path: Path
) -> None:
    checkpoint = write_run(tmp_path / "run", config, read_manifest(shards).fingerprint)
    assert read_card_facts(checkpoint).hardware is None


def test_a_step_without_an_evaluation_has_no_held_out_loss(
    config: RunConfig, shards: Path, tmp_path: Path
) -> None:
    checkpoint = write_run(tmp_path / "run", config, read_manifest(shards).fingerprint, step=3)
    assert read_card_facts(checkpoint).last_evaluation is None


def test_the_data_are_those_that_the_run_has_read(facts: CardFacts, shards: Path) -> None:
    manifest = read_manifest(shards)
    assert facts.manifests == [manifest]
    assert facts.train_tokens == sum(shard.tokens for shard in manifest.of("train"))
    config = replace(facts.config, data=replace(facts.config.data, train_tokens=64))
    assert replace(facts, config=config).train_tokens == 64


def test_other_data_in_the_folder_are_none_of_the_run(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = write_run(tmp_path / "run", config, "another fingerprint")
    assert read_card_facts(checkpoint).manifests == []
    assert "holds others than the run has read" in capsys.readouterr().err


def test_data_that_are_gone_are_unknown(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(config, data=DataConfig(directory=tmp_path / "gone"))
    checkpoint = write_run(tmp_path / "run", config, "a fingerprint")
    assert read_card_facts(checkpoint).manifests == []
    assert "the card says nothing of the data: " in capsys.readouterr().err


def test_data_in_parts_have_a_manifest_each(
    config: RunConfig, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    source = in_memory("texts", ["one text", "another", "and one more", "the last"])
    folders = [tmp_path / "data" / str(number) for number in (1, 2)]
    for number, folder in enumerate(folders, start=1):
        prepare(source, tokenizer, folder, PrepareConfig(hold_out=0.5, part=f"{number}/2"))
    config = replace(config, data=DataConfig(directory=tmp_path / "data"))
    manifests = [read_manifest(folder) for folder in folders]
    whole = fingerprint_of(manifest.fingerprint for manifest in manifests)
    assert read_card_facts(write_run(tmp_path / "run", config, whole)).manifests == manifests


def test_a_damaged_file_of_the_run_is_told(config: RunConfig, tmp_path: Path) -> None:
    checkpoint = write_run(tmp_path / "run", config, "")
    (checkpoint / "training_state.json").write_text("{}")
    with pytest.raises(CheckpointError, match="written by another version"):
        read_card_facts(checkpoint)
