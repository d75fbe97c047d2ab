"""Moments of a run: which steps, what they hold, and that they change nothing else."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gpt2.config import HistoryConfig, RunConfig
from gpt2.data.shard_folder import open_shards
from gpt2.errors import ConfigError
from gpt2.files.pretrained import GPT2
from gpt2.files.run_directory import list_checkpoints, newest_checkpoint
from gpt2.train.interruption import InterruptedRunError
from gpt2.train.moments import moment_steps, spread_steps, text_ids
from gpt2.train.run import resume, start
from gpt2.visual.moments import Moment, observe, read_moments


@pytest.fixture(autouse=True)
def no_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare each of the many runs its page, which test_page.py looks at."""
    monkeypatch.setattr("gpt2.train.run.write_page", lambda run: None)


@pytest.fixture
def kept(config: RunConfig) -> RunConfig:
    """Six steps, evaluated every second one, of which all moments are kept but that of step 5."""
    return replace(config, history=HistoryConfig(moments=9))


def with_text(config: RunConfig, text: str) -> RunConfig:
    return replace(config, history=replace(config.history, text=text))


def numbers(moment: Moment) -> dict[str, Any]:
    """Return a moment with the bytes of its tensors, which can be compared."""
    return {
        name: value.numpy().tobytes() if isinstance(value, torch.Tensor) else value
        for name, value in vars(moment).items()
    }


def assert_same_moments(one: Path, other: Path) -> None:
    assert list(map(numbers, read_moments(one))) == list(map(numbers, read_moments(other)))


# Which steps


@pytest.mark.parametrize(
    ("steps", "every", "most", "expected"),
    [
        (6, 2, 9, [0, 1, 2, 4, 6]),
        (6, 100, 9, [0, 1, 2, 4, 6]),
        (1, 1, 9, [0, 1]),
        (900, 100, 2, [0, 900]),
        (900, 100, 3, [0, 512, 900]),
        (5, 1, 9, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_moments_are_of_powers_of_two_and_of_evaluations(
    steps: int, every: int, most: int, expected: list[int]
) -> None:
    assert spread_steps(steps, every, most) == expected


@given(st.integers(1, 10**6), st.integers(1, 1000), st.integers(2, 50))
def test_moments_begin_before_the_first_step_end_after_the_last_and_are_bounded(
    steps: int, every: int, most: int
) -> None:
    found = spread_steps(steps, every, most)
    assert found == sorted(set(found))
    assert (found[0], found[-1]) == (0, steps)
    assert len(found) <= most


def test_the_first_billion_tokens_of_a_long_run_have_moments_early_and_late() -> None:
    found = spread_steps(19073, 250, 32)
    assert len(found) == 32
    assert found[:6] == [0, 1, 2, 4, 8, 16]
    late = [step for step in found if step > 16384]
    assert len(late) >= 2


def test_no_moments_are_kept_unless_asked_for(config: RunConfig, tmp_path: Path) -> None:
    assert moment_steps(config) == []
    start(config, tmp_path)
    assert read_moments(tmp_path) == []
    assert not (tmp_path / "moments").exists()


# Which text


def test_the_text_is_the_beginning_of_the_held_out_tokens_or_that_of_the_settings(
    kept: RunConfig,
) -> None:
    data = open_shards(kept.data.directory)
    assert text_ids(kept, data) == data.val[0][:16].tolist()  # of 16 positions
    ids = data.tokenizer.encode("Permission is hereby granted")
    assert text_ids(with_text(kept, "Permission is hereby granted"), data) == ids[:16]


def test_a_text_beyond_the_embeddings_of_the_model_is_refused_at_once(
    kept: RunConfig, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt2.data.shard_folder.TokenData.check_ids", lambda *_: None)
    small = replace(kept, model=replace(kept.model, vocab_size=299))
    with pytest.raises(ConfigError, match="history.text must have ids below the 299 embeddings"):
        start(with_text(small, "a<|endoftext|>"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# What a run keeps


def test_a_moment_holds_what_the_checkpoint_of_its_step_computes(
    kept: RunConfig, tmp_path: Path
) -> None:
    start(kept, tmp_path)
    moments = read_moments(tmp_path)
    assert [moment.step for moment in moments] == [0, 1, 2, 4, 6]
    assert [moment.tokens for moment in moments] == [0, 64, 128, 256, 384]
    ids = text_ids(kept, open_shards(kept.data.directory))
    saved = {2: moments[2], 4: moments[3], 6: moments[4]}
    for directory, (step, moment) in zip(list_checkpoints(tmp_path), saved.items(), strict=True):
        model = GPT2.from_pretrained(directory)
        assert numbers(moment) == numbers(observe(model, ids, step=step, tokens=64 * step))


def test_the_first_moment_is_of_the_model_before_training(kept: RunConfig, tmp_path: Path) -> None:
    start(kept, tmp_path)
    untrained = GPT2(kept.model, seed=kept.training.seed)
    first = read_moments(tmp_path)[0]
    assert torch.equal(first.positions.t(), untrained.wpe.weight[:, first.channels])


def test_moments_change_nothing_of_the_run(
    config: RunConfig, kept: RunConfig, tmp_path: Path, assert_same_run: Callable[..., None]
) -> None:
    start(config, tmp_path / "without")  # with dropout, which draws in each step
    start(kept, tmp_path / "with")
    assert_same_run(tmp_path / "without", tmp_path / "with")


@pytest.mark.parametrize("step", [1, 2, 3, 5])
def test_the_moments_of_a_resumed_run_are_those_of_an_uninterrupted_one_to_the_bit(
    kept: RunConfig,
    tmp_path: Path,
    signal_after: Callable[[int], None],
    assert_same_run: Callable[..., None],
    step: int,
) -> None:
    start(kept, tmp_path / "whole")
    signal_after(step)
    with pytest.raises(InterruptedRunError):
        start(kept, tmp_path / "stopped")
    assert read_moments(tmp_path / "stopped")[-1].step <= step
    resume(tmp_path / "stopped")
    assert_same_moments(tmp_path / "whole", tmp_path / "stopped")
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_moments_after_the_step_that_a_run_resumes_from_are_kept_anew(
    kept: RunConfig, tmp_path: Path
) -> None:
    start(kept, tmp_path)
    (newest_checkpoint(tmp_path) / "model.safetensors").write_bytes(b"")
    before = read_moments(tmp_path)
    later = tmp_path / "moments/step_00000006.safetensors"
    later.write_bytes(b"of another future")
    stray = later.with_name("step_00000005.safetensors")
    stray.write_bytes(b"of another future")
    resume(tmp_path)
    assert list(map(numbers, read_moments(tmp_path))) == list(map(numbers, before))


def test_a_run_may_begin_to_keep_moments_when_it_is_resumed(
    config: RunConfig, kept: RunConfig, tmp_path: Path
) -> None:
    with pytest.raises(InterruptedRunError):
        start(replace(config, training=replace(config.training, max_hours=1e-9)), tmp_path)
    resume(tmp_path, kept)
    assert [moment.step for moment in read_moments(tmp_path)] == [2, 4, 6]


def test_a_moment_that_cannot_be_written_is_logged_and_the_run_goes_on(
    kept: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "moments").write_text("in the way of the folder")
    start(kept, tmp_path)
    logged = capsys.readouterr().err
    for step in (0, 1, 2, 4, 6):
        assert f"could not keep the moment of step {step}: " in logged
    assert (tmp_path / "report.md").exists()


def test_a_model_that_has_diverged_has_moments_without_a_sample(
    kept: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = GPT2.forward
    monkeypatch.setattr(GPT2, "forward", lambda model, ids: forward(model, ids) * math.nan)
    start(kept, tmp_path)
    assert {moment.sample for moment in read_moments(tmp_path)} == {""}


def test_a_compiled_model_is_not_compiled_for_a_moment(
    kept: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[Any] = []
    compile_blocks = GPT2.compile

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        compiled.append(graph)
        return graph.forward

    monkeypatch.setattr(GPT2, "compile", lambda model: compile_blocks(model, backend=backend))
    # Step 0 comes first: what is compiled then is compiled for it.
    monkeypatch.setattr("gpt2.train.loop.Trainer.take_step", lambda trainer: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        start(replace(kept, training=replace(kept.training, compile=True)), tmp_path)
    assert [moment.step for moment in read_moments(tmp_path)] == [0]
    assert not compiled
