import dataclasses
import json
import os
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gpt2 import checkpoint
from gpt2.config import (
    CheckpointConfig,
    DataConfig,
    EvaluationConfig,
    GPT2Config,
    OptimizerConfig,
    PrepareConfig,
    RunConfig,
    TrainingConfig,
)
from gpt2.data.batches import TokenStream
from gpt2.data.prepare import prepare
from gpt2.data.sources import in_memory
from gpt2.data.token_data import open_shards
from gpt2.errors import CheckpointError, DataError
from gpt2.model.gpt import GPT2Network
from gpt2.pretrained import GPT2
from gpt2.train import loop
from gpt2.train.interruption import InterruptedRunError
from gpt2.train.metrics import read_metrics
from llm_tokenizer import Tokenizer

TIMES = ("seconds", "tokens_per_second", "mfu")  # differ from run to run


@pytest.fixture
def config(shards: Path) -> RunConfig:
    """Six steps of four rows, with dropout; evaluated and saved every second step."""
    return RunConfig(
        model=GPT2Config(vocab_size=300, n_positions=16, n_embd=24, n_layer=2, n_head=2),
        data=DataConfig(directory=shards, seed=3),
        training=TrainingConfig(
            steps=6, batch_tokens=64, micro_batch=2, seed=1, dtype="float32", device="cpu"
        ),
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=2),
        evaluation=EvaluationConfig(every=2, val_tokens=48),
        checkpoint=CheckpointConfig(every=2, keep_last=9),
    )


def timeless(run: Path) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in TIMES} for row in read_metrics(run)]


def assert_same_run(one: Path, other: Path) -> None:
    assert timeless(one) == timeless(other)
    for file in ("model.safetensors", "training_state.safetensors"):
        newest = [checkpoint.newest(run) / file for run in (one, other)]
        assert newest[0].read_bytes() == newest[1].read_bytes(), file


def test_a_run_directory_holds_settings_metrics_checkpoints_and_report(
    config: RunConfig, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    loop.start(config, run)

    assert RunConfig.from_toml(run / "config.toml") == loop.resolve(config)
    assert [path.name for path in checkpoint.steps(run)] == [
        "step_00000002",
        "step_00000004",
        "step_00000006",
    ]
    rows = read_metrics(run)
    steps, evaluations = ([r for r in rows if key in r] for key in ("loss", "val_loss"))
    assert [row["step"] for row in steps] == [1, 2, 3, 4, 5, 6]
    assert [row["tokens"] for row in steps] == [64, 128, 192, 256, 320, 384]
    names = "step loss learning_rate grad_norm tokens tokens_per_second mfu seconds"
    assert set(steps[0]) == set(names.split())
    assert [(row["step"], row["val_tokens"]) for row in evaluations] == [(2, 48), (4, 48), (6, 48)]
    assert "held-out loss, in rows side by side" in (run / "report.md").read_text(encoding="utf-8")
    assert (run / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_resumes_from_any_folder(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(config.data.directory.parent)
    relative = replace(config.data, directory=Path(config.data.directory.name))
    loop.start(replace(config, data=relative), tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    loop.resume(Path("run"))


@pytest.mark.parametrize(
    "changes", [{"model": {"n_head": 3}}, {"optimizer": {"kind": "muon"}}], ids=str
)
def test_a_run_is_not_resumed_with_other_settings(
    config: RunConfig, tmp_path: Path, changes: dict[str, dict[str, Any]]
) -> None:
    loop.start(config, tmp_path)
    for section, keys in changes.items():
        config = replace(config, **{section: replace(getattr(config, section), **keys)})
    (tmp_path / "config.toml").write_text(config.to_toml())
    with pytest.raises(CheckpointError, match="put those back to resume"):
        loop.resume(tmp_path)


def test_training_learns(config: RunConfig, tmp_path: Path) -> None:
    longer = replace(config, training=replace(config.training, steps=60))
    loop.start(replace(longer, evaluation=EvaluationConfig(every=60)), tmp_path)
    rows = read_metrics(tmp_path)
    assert rows[0]["loss"] == pytest.approx(np.log(300), abs=0.1)
    assert np.mean([row["loss"] for row in rows[-11:-1]]) < 0.7 * rows[0]["loss"]


@pytest.mark.parametrize("stop_after", [1, 2, 3, 5])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"dtype": "bfloat16", "attention": "manual"},
        {"gradient_checkpointing": True, "micro_batch": 4},
    ],
    ids=str,
)
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(
    config: RunConfig, tmp_path: Path, stop_after: int, settings: dict[str, Any]
) -> None:
    config = replace(config, training=replace(config.training, **settings))
    loop.start(config, tmp_path / "whole")

    stopped = tmp_path / "stopped"
    trainer = loop.Trainer(config, stopped)
    take_step = trainer.take_step

    def take_step_then_signal() -> dict[str, Any]:
        row = take_step()
        if trainer.step == stop_after:
            os.kill(os.getpid(), signal.SIGTERM)
        return row

    stopped.mkdir()
    (stopped / "config.toml").write_text(config.to_toml(), encoding="utf-8")
    trainer.take_step = take_step_then_signal  # type: ignore[method-assign]
    with pytest.raises(InterruptedRunError, match=f"after step {stop_after} of 6") as raised:
        trainer.train()
    assert raised.value.exit_code == 143
    loop.resume(stopped)

    assert_same_run(tmp_path / "whole", stopped)


def test_micro_batches_change_no_step(config: RunConfig, tmp_path: Path) -> None:
    model = replace(config.model, embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0)
    runs = {}
    for size in (1, 2, 4):
        training = replace(config.training, micro_batch=size)
        loop.start(replace(config, model=model, training=training), tmp_path / str(size))
        runs[size] = [row["loss"] for row in read_metrics(tmp_path / str(size)) if "loss" in row]
    assert runs[1] == pytest.approx(runs[2], rel=1e-5)
    assert runs[1] == pytest.approx(runs[4], rel=1e-5)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's own, while it compiles
def test_compiled_blocks_and_other_backends_change_no_step(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The compiler that needs none for C++; dropout off, as backends draw it differently.
    compile_blocks = partial(GPT2Network.compile, backend="eager")
    monkeypatch.setattr(GPT2, "compile", lambda model: compile_blocks(model))
    model = replace(config.model, embd_pdrop=0.0, attn_pdrop=0.0, resid_pdrop=0.0)
    config = replace(config, model=model)
    loop.start(config, tmp_path / "plain")
    changes = {"compile": True, "attention": "manual", "attention_blocks": (1,)}
    other = replace(config, training=replace(config.training, **changes))
    loop.start(other, tmp_path / "other")

    losses = [
        [row["loss"] for row in read_metrics(tmp_path / run) if "loss" in row]
        for run in ("plain", "other")
    ]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
    saved = checkpoint.newest(tmp_path / "other")
    assert b"_orig_mod" not in (saved / "model.safetensors").read_bytes()
    assert GPT2.from_pretrained(saved).config == model


def test_validation_is_the_loss_over_the_first_held_out_rows(
    config: RunConfig, tmp_path: Path
) -> None:
    loop.start(config, tmp_path)
    model = GPT2.from_pretrained(checkpoint.newest(tmp_path))
    rows = TokenStream(open_shards(config.data.directory).val, 16).read_rows([0, 1, 2])
    batch = torch.from_numpy(rows)
    expected = model.loss(batch[:, :-1], batch[:, 1:]).item()
    assert read_metrics(tmp_path)[-1]["val_loss"] == pytest.approx(expected, abs=1e-5)


def test_losses_equal_those_of_transformers_trained_alike(
    config: RunConfig, tmp_path: Path
) -> None:
    import transformers

    rates = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), 0.0)
    config = replace(config, model=replace(config.model, **rates))
    trainer = loop.Trainer(config, tmp_path)
    trainer.model.save_pretrained(tmp_path)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path)
    decayed = [p for p in theirs.parameters() if p.ndim >= 2]
    others = [p for p in theirs.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
    for step in range(5):
        batch = torch.from_numpy(trainer.batches.at(step))
        row = trainer.take_step()
        logits = theirs(batch[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = row["learning_rate"]
        optimizer.step()
        optimizer.zero_grad()
        assert row["loss"] == pytest.approx(loss.item(), abs=1e-4)
        assert row["grad_norm"] == pytest.approx(norm.item(), rel=1e-3)


def test_a_run_is_not_started_over_another(config: RunConfig, tmp_path: Path) -> None:
    loop.start(config, tmp_path)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    with pytest.raises(CheckpointError, match="holds a run already; continue it with --resume"):
        loop.start(config, tmp_path)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_a_run_on_other_tokens_is_not_resumed(
    config: RunConfig, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    first = in_memory("first", ["one text " * 60, "held out " * 20])
    prepare(first, tokenizer, data, PrepareConfig())
    config = replace(config, data=DataConfig(directory=data))
    loop.start(config, tmp_path / "run")
    second = in_memory("second", ["another text " * 60, "held out " * 20])
    prepare(second, tokenizer, data, PrepareConfig(), force=True)
    with pytest.raises(DataError, match="holds other tokens than"):
        loop.resume(tmp_path / "run")


def test_a_finished_run_whose_metrics_are_lost_still_has_a_report(
    config: RunConfig, tmp_path: Path
) -> None:
    loop.start(config, tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    loop.resume(tmp_path)
    assert "no rows of metrics" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_directory_without_a_run_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no run to resume"):
        loop.resume(tmp_path)


def test_a_model_too_small_for_the_vocabulary_leaves_no_run_behind(
    config: RunConfig, tmp_path: Path
) -> None:
    small = replace(config, model=replace(config.model, vocab_size=299))
    told = r"train_000000.bin holds the id 299, the model has 299 embeddings"
    with pytest.raises(DataError, match=told):
        loop.start(small, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_dropout_of_a_step_depends_on_seed_and_step() -> None:
    seeds = {loop.mix_seeds(seed, step) for seed in range(20) for step in range(20)}
    assert len(seeds) == 400


def test_the_training_state_is_what_the_settings_do_not_say(
    config: RunConfig, tmp_path: Path
) -> None:
    loop.start(config, tmp_path)
    entries = json.loads((checkpoint.newest(tmp_path) / "training_state.json").read_text())
    assert entries["step"] == 6
    assert entries["data_fingerprint"] == open_shards(config.data.directory).fingerprint
    assert {field.name for field in dataclasses.fields(checkpoint.TrainingState)} <= set(entries)
    assert entries["versions"]["torch"] == torch.__version__
