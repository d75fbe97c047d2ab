"""Attention by blocks of queries beside the formula, in float64 where it is to be exact."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gpt2.config import GPT2Config
from gpt2.model import attention
from gpt2.model.attention import causal_mask, flash_attention, manual_attention
from gpt2.model.blocked_attention import BLOCK, blocked_attention
from gpt2.model.gpt import GPT2Network

SCALE = 0.3


def heads(rows: int, tokens: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Return queries, keys, values and a gradient, laid out as those of a model are."""
    generator = torch.Generator().manual_seed(tokens)
    each = torch.randn(rows, tokens, 4, 3, 8, generator=generator, dtype=torch.float64).to(dtype)
    return [each.transpose(1, 3)[:, :, i].detach().requires_grad_() for i in range(4)]


def outcome(
    attend: Callable[[Tensor, Tensor, Tensor], Tensor],
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gradient: Tensor,
) -> list[Tensor]:
    mixed = attend(q, k, v)
    return [mixed, *torch.autograd.grad(mixed, (q, k, v), gradient)]


@pytest.mark.parametrize("tokens", [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 5])
@pytest.mark.parametrize("rows", [1, 3])
def test_it_is_the_formula_in_value_and_gradients(rows: int, tokens: int) -> None:
    inputs = heads(rows, tokens)
    mask = causal_mask(tokens)
    got = outcome(lambda *qkv: blocked_attention(*qkv, SCALE), *inputs)
    wanted = outcome(lambda *qkv: manual_attention(*qkv, mask, scale=SCALE)[0], *inputs)
    for one, other in zip(got, wanted, strict=True):
        # Gradients of keys and values are summed in float32.
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_rows_attended_at_a_time_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = heads(5, 40)
    at_once = outcome(lambda *qkv: blocked_attention(*qkv, SCALE), *inputs)
    monkeypatch.setattr("gpt2.model.blocked_attention.TOKENS", 2 * 3 * 40)
    in_twos = outcome(lambda *qkv: blocked_attention(*qkv, SCALE), *inputs)
    for one, other in zip(at_once, in_twos, strict=True):
        torch.testing.assert_close(one, other)


def test_in_bfloat16_it_errs_as_the_formula_does() -> None:
    tokens = BLOCK + 30
    exact = heads(2, tokens)
    mask = causal_mask(tokens)
    wanted = outcome(lambda *qkv: manual_attention(*qkv, mask, scale=SCALE)[0], *exact)
    rounded = [each.detach().bfloat16().requires_grad_() for each in exact]
    ours = outcome(lambda *qkv: blocked_attention(*qkv, SCALE), *rounded)
    plain = outcome(lambda *qkv: manual_attention(*qkv, mask, scale=SCALE)[0], *rounded)
    for mine, theirs, right in zip(ours, plain, wanted, strict=True):
        error, usual = ((each - right).norm() / right.norm() for each in (mine, theirs))
        assert error < 1.2 * usual < 2e-2


def test_flash_takes_it_in_bfloat16_on_a_cpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def noted(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        taken.append(q.dtype)
        return blocked_attention(q, k, v, scale)

    monkeypatch.setattr(attention, "blocked_attention", noted)
    mask = causal_mask(16)
    for dtype in (torch.float32, torch.bfloat16):
        q, k, v, _ = heads(1, 16, dtype)
        for settings in ({}, {"drop_rate": 0.1}, {"upcast": True}):
            flash_attention(q, k, v, mask, is_causal=True, scale=SCALE, **settings)
        flash_attention(q, k, v, mask, scale=SCALE)
    assert taken == [torch.bfloat16]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # torch's own
def test_a_compiled_model_has_the_same_loss_in_bfloat16() -> None:
    config = GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=2, n_head=2)
    network = GPT2Network(config).eval()
    ids = torch.arange(32).view(2, 16)
    with torch.autocast("cpu", torch.bfloat16):
        eager = network.loss(ids, ids)
        network.compile(backend="aot_eager")
        compiled = network.loss(ids, ids)
    compiled.backward()
    torch.testing.assert_close(eager, compiled, rtol=1e-2, atol=0)
