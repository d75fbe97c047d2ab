import math
from typing import Any

import pytest
import torch
from torch import Tensor

from gpt2.config import GPT2Config
from gpt2.errors import ConfigError
from gpt2.model.attention import BACKENDS, Attention, manual_attention


def qkv(dtype: torch.dtype = torch.float32, shape: tuple[int, ...] = (2, 3, 7, 5)) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(dtype).requires_grad_() for _ in range(3)]


def mask(length: int) -> Tensor:
    return torch.ones(1, 1, length, length, dtype=torch.bool).tril()


def attend(backend: str, inputs: list[Tensor], **options: Any) -> Tensor:
    q = inputs[0]
    options = {"scale": q.size(-1) ** -0.5} | options
    return BACKENDS[backend](*inputs, mask(q.size(2)), is_causal=True, **options)[0]


@pytest.fixture
def layer() -> Attention:
    torch.manual_seed(0)
    sizes = {"n_embd": 12, "n_head": 3, "n_positions": 8}
    return Attention(GPT2Config(**sizes, attn_pdrop=0.0, resid_pdrop=0.0))


def test_two_tokens_attend_as_computed_by_hand() -> None:
    q = torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
    k = torch.tensor([[[[2.0, 0.0], [0.0, 3.0]]]])
    v = torch.tensor([[[[1.0, 10.0], [2.0, 20.0]]]])

    mixed, weights = manual_attention(q, k, v, mask(2), scale=1 / math.sqrt(2))

    # The second token scores 2 / sqrt(2) with the first and 0 with itself.
    first = math.exp(math.sqrt(2)) / (math.exp(math.sqrt(2)) + 1)
    torch.testing.assert_close(weights[0, 0], torch.tensor([[1.0, 0.0], [first, 1 - first]]))
    torch.testing.assert_close(mixed[0, 0, 0], v[0, 0, 0])
    torch.testing.assert_close(mixed[0, 0, 1], first * v[0, 0, 0] + (1 - first) * v[0, 0, 1])


# bfloat16 has 8 bits of precision, float16 11: two roundings of values near 1 differ by up to
# 2 * 2**-8 and 2 * 2**-11.
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 1e-5), (torch.bfloat16, 2e-2), (torch.float16, 2e-3)],
    ids=str,
)
@pytest.mark.parametrize("shape", [(2, 3, 7, 5), (1, 1, 1, 4), (1, 2, 33, 16), (1, 2, 200, 64)])
@pytest.mark.parametrize("upcast", [False, True])
def test_manual_and_flash_agree_in_output_and_gradient(
    dtype: torch.dtype, tolerance: float, shape: tuple[int, ...], upcast: bool
) -> None:
    manual_inputs, flash_inputs = qkv(dtype, shape), qkv(dtype, shape)
    manual = attend("manual", manual_inputs, upcast=upcast)
    flash = attend("flash", flash_inputs, upcast=upcast)
    torch.testing.assert_close(manual, flash, atol=tolerance, rtol=tolerance)

    manual.float().square().sum().backward()
    flash.float().square().sum().backward()
    for a, b in zip(manual_inputs, flash_inputs, strict=True):
        largest = b.grad.abs().max().item()
        torch.testing.assert_close(a.grad, b.grad, atol=2 * tolerance * largest, rtol=0)


@pytest.mark.parametrize("backend", ["manual", "flash"])
def test_scores_are_scaled_as_config_json_says(backend: str) -> None:
    x = torch.randn(1, 8, 12)
    settings = {"n_embd": 12, "n_head": 3, "n_positions": 8, "attn_pdrop": 0.0, "resid_pdrop": 0.0}
    layers = {
        # Heads have 4 channels, so that the paper divides by 2; the third block by 3 times that.
        1 / 2: Attention(GPT2Config(**settings)),
        1.0: Attention(GPT2Config(**settings, scale_attn_weights=False)),
        1 / 6: Attention(GPT2Config(**settings, scale_attn_by_inverse_layer_idx=True), 2),
    }
    for scale, layer in layers.items():
        layer.backend = backend
        q, k, v = layer.project(x)
        mixed = attend("manual", [q, k, v], scale=scale)
        expected = layer.c_proj(mixed.transpose(1, 2).flatten(2))
        torch.testing.assert_close(layer(x, mask(8)), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("autocast", [False, True])
def test_upcast_scores_are_those_of_float32(autocast: bool) -> None:
    q, k, v = qkv(torch.bfloat16, (1, 2, 33, 16))
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        _, weights = manual_attention(q, k, v, mask(33), scale=0.25, upcast=True)
    _, exact = manual_attention(q.float(), k.float(), v.float(), mask(33), scale=0.25)
    # Nothing but the last rounding, to 8 bits, may differ.
    torch.testing.assert_close(weights.float(), exact, atol=0, rtol=2**-8)


@pytest.mark.parametrize("backend", ["manual", "flash"])
@pytest.mark.parametrize("changed_at", [1, 4, 7])
def test_a_later_token_never_changes_an_earlier_output(
    layer: Attention, backend: str, changed_at: int
) -> None:
    layer.backend = backend
    x = torch.randn(1, 8, 12)
    x_changed = x.clone()
    x_changed[:, changed_at] += 1.0

    y, y_changed = layer(x, mask(8)), layer(x_changed, mask(8))

    # Exact, not close: a masked weight is 0, and 0 times a finite value adds nothing.
    torch.testing.assert_close(y_changed[:, :changed_at], y[:, :changed_at], rtol=0, atol=0)
    assert not torch.equal(y_changed[:, changed_at], y[:, changed_at])  # the change does arrive


def test_weights_of_each_token_sum_to_one_over_its_past(layer: Attention) -> None:
    weights = layer.weights(torch.randn(2, 8, 12), mask(8))
    assert weights.shape == (2, 3, 8, 8)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, 8))
    assert weights.triu(1).count_nonzero() == 0


@pytest.mark.parametrize("backend", ["manual", "flash"])
@pytest.mark.parametrize("rates", [(0.5, 0.0), (0.0, 0.5)], ids=["weights", "outcome"])
def test_dropout_acts_in_training_only(backend: str, rates: tuple[float, float]) -> None:
    sizes = {"n_embd": 12, "n_head": 3, "n_positions": 8}
    layer = Attention(GPT2Config(**sizes, attn_pdrop=rates[0], resid_pdrop=rates[1]))
    layer.backend = backend
    x = torch.randn(1, 8, 12)
    layer.eval()
    assert torch.equal(layer(x, mask(8)), layer(x, mask(8)))
    layer.train()
    assert not torch.equal(layer(x, mask(8)), layer(x, mask(8)))


def test_an_unknown_backend_is_refused_with_those_known(layer: Attention) -> None:
    with pytest.raises(ConfigError, match="one of manual, flash, got 'flsh'"):
        layer.backend = "flsh"
