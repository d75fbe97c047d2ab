import pytest
import torch

from gpt2 import devices
from gpt2.errors import ConfigError

CPU = torch.device("cpu")


def test_a_device_that_is_not_here_is_told_with_those_that_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert devices.select_device("auto") == CPU
    with pytest.raises(ConfigError, match="one of those here, cpu; got 'cuda:1'"):
        devices.select_device("cuda:1")
    with pytest.raises(ConfigError, match="a name such as cpu or cuda:0, got 'cpu:x'"):
        devices.select_device("cpu:x")


@pytest.mark.parametrize(
    ("features", "dtype"),
    [({"avx512_bf16": True}, torch.bfloat16), ({"avx2": True}, torch.float32)],
)
def test_a_cpu_computes_in_bfloat16_where_it_has_the_instructions(
    monkeypatch: pytest.MonkeyPatch, features: dict[str, bool], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: features)
    assert devices.select_dtype("auto", CPU) == dtype
    assert devices.select_dtype("float32", CPU) == torch.float32


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_runs_matrix_products_in_the_chosen_type(dtype: torch.dtype) -> None:
    matrix = torch.ones(2, 2)
    with devices.autocast(CPU, dtype):
        assert (matrix @ matrix).dtype == dtype
    assert matrix.dtype == torch.float32


def test_the_peak_of_a_cpu_is_measured() -> None:
    peak = devices.peak_flops(CPU, torch.float32)
    assert peak is not None
    assert 1e8 < peak < 1e16


def test_what_makes_training_fast_rounds_nothing_but_the_smallest_numbers() -> None:
    devices.make_training_fast()
    try:
        assert torch.ones(1000, 1000).sum().item() == 1e6
        smallest = torch.finfo(torch.float32).tiny
        assert (torch.tensor([smallest, smallest]) * torch.tensor([1.0, 0.5])).tolist() == [
            pytest.approx(smallest),
            0.0,
        ]
    finally:
        torch.set_flush_denormal(False)
