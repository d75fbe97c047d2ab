import pytest
import torch
from torch import Tensor

from gpt2.bench.attention import measure
from gpt2.config import GPT2Config
from gpt2.errors import InputError
from gpt2.files.pretrained import GPT2


def test_the_backends_are_measured_together_and_then_block_by_block(model: GPT2) -> None:
    rows = list(measure(model, [8, 24], rounds=1, per_block=True))
    names = ["flash", "manual", *(f"manual in block {block}" for block in range(3))]
    assert [(row.length, row.attention) for row in rows] == [
        (length, name) for length in (8, 24) for name in names
    ]
    for row in rows:
        assert row.forward_seconds > 0
        assert row.forward_backward_seconds > 0
        assert row.memory_bytes > 4 * 20 * 300  # the gradient of the embeddings, at the least


def test_the_difference_is_that_of_the_logits(model: GPT2, monkeypatch: pytest.MonkeyPatch) -> None:
    attention = model.block(1).attn
    forward = attention.forward

    def shifted_when_manual(x: Tensor, mask: Tensor, cache: None) -> Tensor:
        shift = torch.zeros(20)
        shift[0] = attention.backend == "manual"
        return forward(x, mask, cache) + shift

    monkeypatch.setattr(attention, "forward", shifted_when_manual)
    rows = {row.attention: row for row in measure(model, [8], rounds=1, per_block=True)}
    assert rows["flash"].largest_difference == 0
    assert rows["manual in block 0"].largest_difference < 1e-3
    assert rows["manual in block 1"].largest_difference > 1e-2
    assert rows["manual"].largest_difference > 1e-2


def test_a_length_beyond_the_positions_is_refused_before_anything_is_measured(
    model: GPT2,
) -> None:
    with pytest.raises(InputError, match=r"lengths must be 1 to 24, .* got \[25, 0\]"):
        list(measure(model, [8, 25, 0]))


def test_the_backends_are_as_before_when_it_is_done(model: GPT2) -> None:
    model.set_attention("manual", [1])
    model.train()
    list(measure(model, [8], rounds=1))
    assert [model.block(i).attn.backend for i in range(3)] == ["flash", "manual", "flash"]
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_manual_attention_takes_the_memory_of_its_matrices() -> None:
    # 8 heads of 256 x 256 float32 weights, kept for the backward pass as scores and as weights.
    model = GPT2(GPT2Config(vocab_size=50, n_positions=256, n_embd=16, n_layer=1, n_head=8))
    rows = {row.attention: row.memory_bytes for row in measure(model, [256], rounds=1)}
    assert rows["manual"] - rows["flash"] > 8 * 256 * 256 * 4
