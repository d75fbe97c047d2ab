import math

import pytest
import torch
from torch import Tensor

from gpt2.config import GPT2Config
from gpt2.model.gpt import GPT2Network

CONFIG = GPT2Config(vocab_size=500, n_positions=200, n_embd=96, n_layer=8, n_head=4)


def expected_deviation(name: str) -> float | None:
    """Return the standard deviation a weight is drawn with, None where it is a constant."""
    if name.endswith("bias") or name.split(".")[-2].startswith("ln_"):
        return None
    if name.startswith("wpe"):
        return 0.01
    return 0.02 / math.sqrt(2 * 8) if "c_proj" in name else 0.02


@pytest.fixture(scope="module")
def parameters() -> dict[str, Tensor]:
    return dict(GPT2Network(CONFIG, seed=3).named_parameters())


def test_every_weight_has_the_mean_and_deviation_of_gpt2(parameters: dict[str, Tensor]) -> None:
    for name, tensor in parameters.items():
        if (deviation := expected_deviation(name)) is not None:
            # Four standard errors of the mean, and of the deviation, of n normal draws.
            error = 4 * deviation / math.sqrt(tensor.numel())
            assert tensor.mean().item() == pytest.approx(0, abs=error), name
            assert tensor.std().item() == pytest.approx(deviation, abs=error), name


def test_biases_begin_at_zero_and_layer_norm_gains_at_one(parameters: dict[str, Tensor]) -> None:
    constants = {name for name in parameters if expected_deviation(name) is None}
    assert len(constants) == 8 * 8 + 2
    for name in constants:
        value = 0.0 if name.endswith("bias") else 1.0
        assert torch.equal(parameters[name], torch.full_like(parameters[name], value)), name


def test_equal_seeds_give_equal_weights_and_others_do_not(parameters: dict[str, Tensor]) -> None:
    torch.manual_seed(9)  # the global generator takes no part
    same, other = GPT2Network(CONFIG, seed=3), GPT2Network(CONFIG, seed=4)
    assert all(torch.equal(p, parameters[name]) for name, p in same.named_parameters())
    assert not torch.equal(other.wte.weight, parameters["wte.weight"])
