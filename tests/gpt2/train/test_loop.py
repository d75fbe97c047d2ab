from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from gpt2.config import OptimizerConfig, RunConfig
from gpt2.data.batches import TokenStream
from gpt2.data.shard_folder import open_shards
from gpt2.files.pretrained import GPT2
from gpt2.files.run_directory import newest_checkpoint
from gpt2.files.training_state import TrainingState
from gpt2.model.gpt import GPT2Network
from gpt2.train.build import build
from gpt2.train.distributed import Parallel, Processes
from gpt2.train.loop import Trainer, cut, mix_seeds
from gpt2.train.metrics import read_metrics
from gpt2.train.run import start

NO_DROPOUT = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), 0.0)


def at_the_start(config: RunConfig) -> Trainer:
    data = open_shards(config.data.directory)
    return build(config, data, TrainingState(), None, Processes(torch.device("cpu")), [])


@pytest.fixture
def without_dropout(config: RunConfig) -> RunConfig:
    return replace(config, model=replace(config.model, **NO_DROPOUT))


@pytest.fixture
def losses_of(tmp_path: Path) -> Callable[..., list[float]]:
    def run(config: RunConfig, **training: Any) -> list[float]:
        directory = tmp_path / str(training)
        start(replace(config, training=replace(config.training, **training)), directory)
        return [row["loss"] for row in read_metrics(directory) if "loss" in row]

    return run


def test_losses_equal_those_of_transformers_trained_alike_for_50_steps(
    without_dropout: RunConfig, tmp_path: Path
) -> None:
    config = replace(
        without_dropout,
        training=replace(without_dropout.training, steps=50),
        optimizer=OptimizerConfig(warmup_steps=5),
    )
    trainer = at_the_start(config)
    trainer.parallel.model.save_pretrained(tmp_path)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path)
    decayed = [p for p in theirs.parameters() if p.ndim >= 2]
    others = [p for p in theirs.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
    for step in range(50):
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
        assert row["grad_norm"] == pytest.approx(norm.item(), rel=1e-2)
    trainer.batches.close()


def test_micro_batches_change_no_step(
    without_dropout: RunConfig, losses_of: Callable[..., list[float]]
) -> None:
    one, two, four = (losses_of(without_dropout, micro_batch=size) for size in (1, 2, 4))
    assert one == pytest.approx(two, rel=1e-6)
    assert one == pytest.approx(four, rel=1e-6)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's own, while it compiles
def test_compiled_blocks_and_other_backends_change_no_step(
    without_dropout: RunConfig,
    losses_of: Callable[..., list[float]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The compiler that needs none for C++; dropout off, as backends draw it differently.
    compile_blocks = partial(GPT2Network.compile, backend="eager")
    monkeypatch.setattr(GPT2, "compile", lambda model: compile_blocks(model))
    changes = {"compile": True, "attention": "manual", "attention_blocks": (1,)}
    plain, other = losses_of(without_dropout), losses_of(without_dropout, **changes)
    assert plain == pytest.approx(other, abs=1e-5)
    saved = newest_checkpoint(tmp_path / str(changes))
    assert b"_orig_mod" not in (saved / "model.safetensors").read_bytes()
    assert GPT2.from_pretrained(saved).config == without_dropout.model


def test_validation_is_the_loss_over_the_first_held_out_rows(
    config: RunConfig, tmp_path: Path
) -> None:
    start(config, tmp_path)
    model = GPT2.from_pretrained(newest_checkpoint(tmp_path))
    rows = TokenStream(open_shards(config.data.directory).val, 16).read_rows([0, 1, 2])
    batch = torch.from_numpy(rows)
    expected = model.loss(batch[:, :-1], batch[:, 1:]).item()
    assert read_metrics(tmp_path)[-1]["val_loss"] == pytest.approx(expected, abs=1e-5)


def test_rows_are_cut_into_pieces_that_predict_the_same_tokens() -> None:
    rows = torch.tensor([[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]])
    assert cut(rows, 2).tolist() == [[0, 1, 2], [2, 3, 4], [5, 6, 7], [7, 8, 9]]
    assert cut(rows, 4).tolist() == rows.tolist()


def test_a_run_reads_short_contexts_first(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = replace(config.training, short_context=4, short_context_share=0.5)
    shapes: list[tuple[int, ...]] = []
    loss = Parallel.loss

    def recorded(parallel: Parallel, rows: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(rows.shape))
        return loss(parallel, rows)

    monkeypatch.setattr(Parallel, "loss", recorded)
    start(replace(config, training=training), tmp_path / "run")
    assert shapes == 6 * [(8, 5)] + 6 * [(2, 17)]  # three steps of two micro-batches each


def test_seeds_of_seed_step_and_row_differ() -> None:
    seeds = {
        mix_seeds(seed, step, row) for seed in range(9) for step in range(9) for row in range(9)
    }
    assert len(seeds) == 9**3


def test_dropout_draws_by_what_is_read_and_by_nothing_else(config: RunConfig) -> None:
    norms = []
    for _ in range(2):
        trainer = at_the_start(config)
        torch.rand(len(norms) + 1)  # draws of others, which differ
        norms.append([trainer.take_step()["grad_norm"] for _ in range(2)])
        trainer.batches.close()
    assert norms[0] == norms[1]
    other = at_the_start(replace(config, training=replace(config.training, micro_batch=4)))
    assert other.take_step()["grad_norm"] != norms[0][0]  # two rows of a micro-batch drew apart
    other.batches.close()


def test_float16_scales_the_loss_and_steps_over_an_overflow(config: RunConfig) -> None:
    trainer = at_the_start(replace(config, training=replace(config.training, dtype="float16")))
    trainer.parallel = replace(
        trainer.parallel, scaler=torch.amp.GradScaler("cpu", init_scale=2.0**120)
    )
    before = trainer.parallel.model.wte.weight.detach().clone()
    assert trainer.take_step()["skipped"]
    assert trainer.parallel.scaler.get_scale() == 2.0**119
    assert torch.equal(trainer.parallel.model.wte.weight, before)
    trainer.parallel = replace(
        trainer.parallel, scaler=torch.amp.GradScaler("cpu", init_scale=2.0**10)
    )
    row = trainer.take_step()
    assert "skipped" not in row
    exact = at_the_start(config)
    exact.take_step()  # whose rows the overflow has taken
    exact.parallel.model.load_state_dict(at_the_start(config).parallel.model.state_dict())
    assert row["grad_norm"] == pytest.approx(exact.take_step()["grad_norm"], rel=1e-2)
    exact.batches.close()
    assert not torch.equal(trainer.parallel.model.wte.weight, before)
    trainer.batches.close()
