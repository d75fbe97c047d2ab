"""The network on a GPU computes what it does on a CPU; the tests run on both."""

from typing import Any

import pytest
import torch
from torch import Tensor

from gpt2 import devices
from gpt2.config import GPT2Config
from gpt2.model.attention import BACKENDS
from gpt2.model.gpt import GPT2Network

# Of the largest value. bfloat16 has 8 bits of precision, float16 11: the scores are rounded, and
# after them the weights, the products and what is made of them.
DTYPES = pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 1e-5), (torch.bfloat16, 2e-2), (torch.float16, 3e-3)],
    ids=str,
)
BOTH = pytest.mark.parametrize("backend", list(BACKENDS))


def assert_close(found: Tensor | None, exact: Tensor | None, tolerance: float) -> None:
    assert found is not None
    assert exact is not None
    error = (found.detach().cpu().double() - exact.detach()).abs().max()
    assert error <= tolerance * exact.detach().abs().max()


def qkv(shape: tuple[int, ...], queries: int) -> list[Tensor]:
    """Return queries, keys and values that bfloat16 and float16 have exactly, in float64."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(shape, generator=generator) for _ in range(3))
    return [each.bfloat16().double() for each in (q[:, :, -queries:], k, v)]


@DTYPES
@BOTH
@pytest.mark.parametrize("shape", [(2, 3, 7, 5), (1, 2, 33, 16), (2, 2, 200, 64)], ids=str)
@pytest.mark.parametrize("upcast", [False, True])
def test_both_backends_attend_as_float64_does(
    device: torch.device,
    dtype: torch.dtype,
    tolerance: float,
    backend: Any,
    shape: tuple[int, ...],
    upcast: bool,
) -> None:
    length = shape[2]
    mask = torch.ones(1, 1, length, length, dtype=torch.bool).tril()
    options: dict[str, Any] = {"is_causal": True, "scale": shape[-1] ** -0.5}
    exact = [each.requires_grad_() for each in qkv(shape, length)]
    wanted = BACKENDS["manual"](*exact, mask, **options)[0]
    wanted.square().sum().backward()

    inputs = [each.detach().to(device, dtype).requires_grad_() for each in exact]
    mixed = BACKENDS[backend](*inputs, mask.to(device), **options, upcast=upcast)[0]
    mixed.float().square().sum().backward()

    assert mixed.dtype == dtype
    assert_close(mixed, wanted, tolerance)
    for found, right in zip(inputs, exact, strict=True):
        assert_close(found.grad, right.grad, 2 * tolerance)


@DTYPES
@BOTH
def test_new_tokens_attend_to_their_own_row_of_a_cache(
    device: torch.device, dtype: torch.dtype, tolerance: float, backend: Any
) -> None:
    exact = qkv((3, 2, 40, 64), queries=1)
    lengths = torch.tensor([40, 1, 17])
    mask = (torch.arange(40) < lengths[:, None])[:, None, None]  # (B, 1, 1, S)
    wanted = BACKENDS["manual"](*exact, mask, scale=0.125)[0]

    inputs = [each.to(device, dtype) for each in exact]
    mixed = BACKENDS[backend](*inputs, mask.to(device), scale=0.125)[0]

    assert_close(mixed, wanted, tolerance)


def network(attention: Any = "flash") -> GPT2Network:
    sizes = {"vocab_size": 300, "n_positions": 64, "n_embd": 64, "n_layer": 2, "n_head": 2}
    rates = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), 0.0)
    return GPT2Network(
        GPT2Config(**sizes, **rates, initializer_range=0.1),  # type: ignore[arg-type]
        attention=attention,
    )


def loss_and_gradients(
    model: GPT2Network, dtype: torch.dtype
) -> tuple[Tensor, dict[str, Tensor | None]]:
    """Return the loss of some rows, computed with products in a dtype, and all gradients."""
    generator = torch.Generator().manual_seed(1)
    rows = torch.randint(0, 300, (3, 65), generator=generator).to(model.device)
    with devices.autocast(model.device, dtype):
        loss = model.loss(rows[:, :-1], rows[:, 1:])
    loss.backward()
    return loss, {name: parameter.grad for name, parameter in model.named_parameters()}


@DTYPES
@BOTH
@pytest.mark.parametrize("recompute", [False, True])
def test_loss_and_gradients_are_those_of_float64(
    device: torch.device, dtype: torch.dtype, tolerance: float, backend: Any, recompute: bool
) -> None:
    exact = network("manual").double()
    rows = torch.randint(0, 300, (3, 65), generator=torch.Generator().manual_seed(1))
    wanted = exact.loss(rows[:, :-1], rows[:, 1:])
    wanted.backward()

    model = network(backend).to(device).train()
    model.gradient_checkpointing = recompute
    loss, gradients = loss_and_gradients(model, dtype)

    assert_close(loss, wanted, tolerance)
    for name, parameter in exact.named_parameters():
        assert_close(gradients[name], parameter.grad, 2 * tolerance)


@pytest.mark.filterwarnings("ignore")  # torch's own, while it compiles
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)], ids=str
)
def test_compiled_blocks_compute_what_they_do_uncompiled(
    device: torch.device, dtype: torch.dtype, tolerance: float
) -> None:
    if device.type == "cuda":
        pytest.importorskip("triton", reason="torch compiles for a GPU by triton")
    torch.compiler.reset()
    plain, compiled = network().to(device), network().to(device)
    # On a CPU by the compiler that needs none for C++.
    compiled.compile(backend="inductor" if device.type == "cuda" else "eager")

    wanted, right = loss_and_gradients(plain, dtype)
    loss, gradients = loss_and_gradients(compiled, dtype)

    assert_close(loss, wanted.cpu().double(), tolerance)
    for name, gradient in right.items():
        assert gradient is not None
        assert_close(gradients[name], gradient.cpu().double(), 2 * tolerance)
