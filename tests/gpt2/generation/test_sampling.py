import pytest
import torch

from gpt2.generation.sampling import keep_top_k, next_token

INF = float("-inf")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_top_k_keeps_the_largest_and_masks_the_rest() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0, 0.0], [5.0, 5.0, 4.0, 6.0]])
    assert keep_top_k(logits, 2).tolist() == [[INF, 3.0, 2.0, INF], [5.0, 5.0, INF, 6.0]]
    assert keep_top_k(logits, 9).equal(logits)


def test_temperature_zero_takes_the_largest_and_of_equals_the_first() -> None:
    logits = torch.tensor([[1.0, 3.0, 3.0], [2.0, 0.0, 1.0]])
    assert next_token(logits, 0, None, seeded()).tolist() == [1, 0]


def test_top_k_of_one_is_greedy_at_any_temperature() -> None:
    logits = torch.tensor([[1.0, 2.0, 1.5]])
    assert next_token(logits, 100.0, 1, seeded()).tolist() == [1]


@pytest.mark.parametrize("temperature", [1e-3, 1e-40, 1e-300])
def test_a_tiny_temperature_is_greedy(temperature: float) -> None:
    logits = torch.tensor([[1.0, 2.0, 1.5]])
    assert next_token(logits, temperature, None, seeded()).tolist() == [1]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_are_as_frequent_as_the_softmax_says(temperature: float) -> None:
    logits = torch.tensor([0.0, 1.0, 2.0])
    drawn = next_token(logits.expand(20_000, 3), temperature, None, seeded())
    frequencies = drawn.bincount(minlength=3) / 20_000
    # Four standard errors of a share near one half, of 20,000 draws.
    torch.testing.assert_close(frequencies, (logits / temperature).softmax(0), atol=0.015, rtol=0)


def test_equal_seeds_draw_equal_tokens_and_leave_the_global_generator() -> None:
    logits = torch.zeros(50, 100)
    before = torch.get_rng_state()
    first = next_token(logits, 1.0, None, seeded(1))
    assert torch.equal(torch.get_rng_state(), before)
    assert next_token(logits, 1.0, None, seeded(1)).equal(first)
    assert not next_token(logits, 1.0, None, seeded(2)).equal(first)
