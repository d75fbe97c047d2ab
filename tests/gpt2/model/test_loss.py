import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gpt2.config import GPT2Config
from gpt2.model.gpt import GPT2Network
from gpt2.model.loss import linear_cross_entropy

CHANNELS = 12


def inputs(tokens: int, vocabulary: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(tokens, CHANNELS, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(vocabulary, CHANNELS, generator=generator).to(dtype).requires_grad_()
    return [hidden, weight, torch.randint(0, vocabulary, (tokens,), generator=generator)]


def plain(hidden: Tensor, weight: Tensor, targets: Tensor, ignore_index: int = -100) -> Tensor:
    return F.cross_entropy(F.linear(hidden, weight).float(), targets, ignore_index=ignore_index)


def relative_error(got: Tensor, expected: Tensor) -> float:
    return ((got - expected).abs().max() / expected.abs().max()).item()


class LargestTensor(TorchDispatchMode):
    """Notes how many entries the largest float32 tensor of all operations has."""

    entries = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor) and tensor.dtype == torch.float32:
                self.entries = max(self.entries, tensor.numel())
        return made


@pytest.mark.parametrize("vocabulary", [3, 64, 301])
@pytest.mark.parametrize("tokens", [1, 2, 7, 50])
def test_it_is_cross_entropy_in_value_and_gradients(vocabulary: int, tokens: int) -> None:
    hidden, weight, targets = inputs(tokens, vocabulary)
    expected = plain(hidden, weight, targets)
    expected.backward()
    wanted = [hidden.grad, weight.grad]
    hidden.grad = weight.grad = None

    loss = linear_cross_entropy(hidden, weight, targets)
    loss.backward()

    assert loss.item() == pytest.approx(expected.item(), abs=1e-5)
    for got, gradient in zip([hidden.grad, weight.grad], wanted, strict=True):
        assert relative_error(got, gradient) < 1e-5


@pytest.mark.parametrize("limit", ["CHUNK_BYTES", "PART_LOGITS"])
def test_a_vocabulary_larger_than_the_limit_takes_a_token_at_a_time(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"gpt2.model.loss.{limit}", 10)
    hidden, weight, targets = inputs(3, 30)
    expected = torch.autograd.grad(plain(hidden, weight, targets), [hidden, weight])
    loss = linear_cross_entropy(hidden, weight, targets)
    for got, wanted in zip(torch.autograd.grad(loss, [hidden, weight]), expected, strict=True):
        assert relative_error(got, wanted) < 1e-5


def test_two_tokens_cost_what_is_computed_by_hand() -> None:
    # Logits (0, ln 3) and (0, 0): the targets have probabilities 3/4 and 1/2.
    hidden = torch.tensor([[1.0], [0.0]])
    weight = torch.tensor([[0.0], [math.log(3)]])
    loss = linear_cross_entropy(hidden, weight, torch.tensor([1, 0]))
    assert loss.item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2, abs=1e-6)


@pytest.mark.parametrize("ignore_index", [-100, 5, 400])
def test_tokens_with_the_ignored_target_are_not_counted(ignore_index: int) -> None:
    hidden, weight, targets = inputs(20, 30)
    targets[3:9] = ignore_index
    plain(hidden, weight, targets, ignore_index).backward()
    expected, hidden.grad = hidden.grad, None

    linear_cross_entropy(hidden, weight, targets, ignore_index).backward()

    assert relative_error(hidden.grad, expected) < 1e-5
    assert not hidden.grad[3:9].any()


def test_without_a_counted_token_there_is_nothing_to_learn() -> None:
    hidden, weight, targets = inputs(4, 30)
    loss = linear_cross_entropy(hidden, weight, torch.full_like(targets, -100))
    loss.backward()
    assert loss.isnan()  # as of F.cross_entropy
    assert not hidden.grad.any()
    assert not weight.grad.any()


def test_a_factor_of_the_loss_is_one_of_the_gradients() -> None:
    hidden, weight, targets = inputs(9, 30)
    (linear_cross_entropy(hidden, weight, targets) / 4).backward()
    quarter, hidden.grad = hidden.grad, None
    linear_cross_entropy(hidden, weight, targets).backward()
    torch.testing.assert_close(4 * quarter, hidden.grad)


@pytest.mark.parametrize("gradients", [False, True])
def test_the_logits_of_all_tokens_are_never_in_memory_at_once(gradients: bool) -> None:
    tokens, vocabulary = 64, 1000
    hidden, weight, targets = inputs(tokens, vocabulary)
    with LargestTensor() as largest, torch.set_grad_enabled(gradients):
        loss = linear_cross_entropy(hidden, weight, targets)
        if gradients:
            loss.backward()
    assert 0 < largest.entries < 0.6 * tokens * vocabulary


# Sums of 12 products of values near 1, in bfloat16 (8 bits) and float16 (11 bits).
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float16, 2e-3)])
@pytest.mark.parametrize("autocast", [False, True])
def test_in_half_precision_it_is_as_good_as_the_plain_one(
    dtype: torch.dtype, tolerance: float, autocast: bool
) -> None:
    stored = torch.float32 if autocast else dtype
    hidden, weight, targets = inputs(40, 301, stored)
    exact = [tensor.detach().double().requires_grad_() for tensor in (hidden, weight)]
    expected = F.cross_entropy(exact[0] @ exact[1].t(), targets)
    expected.backward()

    with torch.autocast("cpu", dtype, enabled=autocast):
        loss = linear_cross_entropy(hidden, weight, targets)
    loss.backward()

    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=tolerance)
    for tensor, reference in zip((hidden, weight), exact, strict=True):
        assert tensor.grad.dtype == stored
        assert relative_error(tensor.grad.double(), reference.grad) < tolerance


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # torch's own
def test_it_compiles_as_one_graph(ids: Tensor) -> None:
    network = GPT2Network(GPT2Config(vocab_size=301, n_embd=12, n_layer=1, n_head=2)).eval()
    compiled = torch.compile(network.loss, backend="aot_eager", fullgraph=True)
    expected = network.loss(ids, ids)
    expected.backward()
    gradient, network.wte.weight.grad = network.wte.weight.grad, None

    loss = compiled(ids, ids)
    loss.backward()

    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(network.wte.weight.grad, gradient)
