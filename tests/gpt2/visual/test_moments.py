"""A moment: the numbers of the model, their bound, and the file."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from gpt2.config import GPT2Config
from gpt2.errors import CheckpointError
from gpt2.files.pretrained import GPT2
from gpt2.generation.generate import generate
from gpt2.visual.capture import record
from gpt2.visual.moments import (
    MOST_TOKENS,
    SAMPLING,
    Moment,
    comparable,
    drop_moments_after,
    kept_maps,
    observe,
    read_moments,
    write_moment,
)
from llm_tokenizer import Tokenizer

MEGABYTE = 10**6


@pytest.fixture
def moment(model: GPT2) -> Moment:
    return observe(model, [5, 6, 7, 8, 9, 10], step=12, tokens=480)


def test_a_moment_holds_the_numbers_of_the_model(model: GPT2, moment: Moment) -> None:
    assert (moment.step, moment.tokens, moment.ids) == (12, 480, [5, 6, 7, 8, 9, 10])
    assert moment.labels == ["&", "'", "(", ")", "*", "+"]
    assert (moment.blocks, moment.heads) == ([0, 1, 2], [0, 1, 2, 3])
    expected = torch.stack([record(model, moment.ids).weights(i) for i in range(3)])
    assert torch.equal(moment.attention, expected.half())
    assert torch.equal(moment.positions, model.wpe.weight[:, moment.channels].t())
    # A row an input, as in the released files: 20 inputs, 60 outputs.
    assert torch.equal(moment.weights, model.block(0).attn.c_attn.weight.t().half())
    assert moment.weights.shape == (20, 60)


def test_the_sample_is_the_one_that_generate_draws_from_the_first_tokens(
    model: GPT2, moment: Moment
) -> None:
    assert moment.prompt == "&'()"
    model = GPT2(replace(model.config, n_positions=64), tokenizer=model.tokenizer, seed=1)
    sample = generate(model, [[5, 6, 7, 8]], SAMPLING)[0]
    assert observe(model, [5, 6, 7, 8, 9], step=0, tokens=0).sample == sample.text
    assert len(sample.ids) == 40
    assert moment.sample  # goes on beyond the 24 positions of the other model


@pytest.mark.parametrize("training", [True, False])
def test_a_model_is_left_as_it_was(model: GPT2, training: bool) -> None:
    model.train(training)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    observe(model, [1, 2, 3], step=0, tokens=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(module.training == training for module in model.modules())


@pytest.mark.parametrize(
    ("n_layer", "n_head", "blocks", "heads"),
    [
        (4, 2, 4, 2),
        (12, 12, 12, 12),
        (24, 16, 24, 16),
        (36, 20, 19, 20),
        (48, 25, 15, 25),
        (2, 800, 1, 384),
    ],
)
def test_all_heads_are_kept_where_they_fit_and_evenly_chosen_ones_elsewhere(
    n_layer: int, n_head: int, blocks: int, heads: int
) -> None:
    chosen = kept_maps(n_layer, n_head)
    assert tuple(map(len, chosen)) == (blocks, heads)
    for numbers, count in zip(chosen, (n_layer, n_head), strict=True):
        assert numbers[0] == 0
        assert len(numbers) == 1 or numbers[-1] == count - 1
        steps = [b - a for a, b in pairwise(numbers)]
        assert not steps or max(steps) - min(steps) <= 1


def test_a_moment_of_a_large_model_takes_less_than_a_megabyte(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    shape = GPT2Config(vocab_size=300, n_positions=2048, n_embd=320, n_layer=40, n_head=20)
    model = GPT2(shape, tokenizer=tokenizer)
    moment = observe(model, list(range(MOST_TOKENS)), step=1, tokens=1)
    write_moment(tmp_path, moment)
    assert moment.weights.shape == (300, 300)
    assert moment.positions.shape == (4, 1024)
    assert moment.attention.shape == (19, 20, 32, 32)
    assert (tmp_path / "moments/step_00000001.safetensors").stat().st_size < MEGABYTE


def test_moments_are_read_as_they_were_written_in_the_order_of_their_steps(
    model: GPT2, moment: Moment, tmp_path: Path
) -> None:
    first = observe(model, [1], step=2, tokens=80)
    for each in (moment, first):
        write_moment(tmp_path, each)
    found = read_moments(tmp_path)
    assert [each.step for each in found] == [2, 12]
    for name, value in vars(moment).items():
        read = getattr(found[1], name)
        assert torch.equal(read, value) if isinstance(value, torch.Tensor) else read == value
    assert [path.name for path in (tmp_path / "moments").iterdir() if "partial" in path.name] == []


def test_moments_of_later_steps_are_dropped(moment: Moment, tmp_path: Path) -> None:
    write_moment(tmp_path, moment)
    drop_moments_after(tmp_path, 12)
    assert len(read_moments(tmp_path)) == 1
    drop_moments_after(tmp_path, 11)
    assert read_moments(tmp_path) == []
    drop_moments_after(tmp_path / "no run", 0)


@pytest.mark.parametrize("content", [b"", b"x" * 99, None])
def test_a_damaged_moment_is_one_line_that_names_the_file(
    moment: Moment, tmp_path: Path, content: bytes | None
) -> None:
    write_moment(tmp_path, moment)
    path = tmp_path / "moments/step_00000012.safetensors"
    path.write_bytes(path.read_bytes()[:-10] if content is None else content)
    with pytest.raises(CheckpointError, match="step_00000012.safetensors is no moment .* damaged"):
        read_moments(tmp_path)


def test_only_moments_of_the_last_text_are_comparable(moment: Moment) -> None:
    later, other = replace(moment, step=20), replace(moment, ids=[1, 2, 3])
    assert comparable([other, moment, later]) == [moment, later]
    assert comparable([moment, later, other]) == [other]
    assert comparable([]) == []
