from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

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


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[torch.dtype, float]]:
    """What a matrix product of each arithmetic takes."""
    chosen: dict[torch.dtype, float] = {}
    monkeypatch.setattr(devices, "_product_seconds", lambda left, right: chosen[left.dtype])
    devices.speed_beside_float32.cache_clear()
    yield chosen
    devices.speed_beside_float32.cache_clear()


@pytest.mark.parametrize(
    ("of_bfloat16", "chosen"),
    [(0.25, torch.bfloat16), (0.9, torch.float32), (100.0, torch.float32)],
)
def test_a_cpu_computes_in_bfloat16_where_that_is_measured_to_be_clearly_faster(
    seconds: dict[torch.dtype, float], of_bfloat16: float, chosen: torch.dtype
) -> None:
    seconds |= {torch.float32: 1.0, torch.bfloat16: of_bfloat16}
    assert devices.select_dtype("auto", CPU) == chosen
    assert devices.select_dtype("float32", CPU) == torch.float32
    assert devices.select_dtype("bfloat16", CPU) == torch.bfloat16  # asked for, whatever it costs


def test_an_arithmetic_many_times_slower_than_float32_is_warned_of(
    seconds: dict[torch.dtype, float],
) -> None:
    seconds |= {torch.float32: 1.0, torch.bfloat16: 98.0, torch.float16: 1.2, torch.float64: 32.0}
    told = devices.slow_dtype_warning(torch.bfloat16, CPU)
    assert told is not None
    assert told.startswith("bfloat16 products take 98 times as long as float32 ones on this CPU")
    assert devices.slow_dtype_warning(torch.float16, CPU) is None
    assert devices.slow_dtype_warning(torch.float32, CPU) is None
    assert devices.stored_dtype_here(torch.bfloat16, CPU) == torch.float32
    assert devices.stored_dtype_here(torch.float16, CPU) == torch.float16
    assert devices.stored_dtype_here(torch.float64, CPU) == torch.float32
    assert str(devices.slow_dtype_warning(torch.float64, CPU)).startswith(
        "float64 products take 32"
    )


def test_measuring_an_arithmetic_leaves_the_threads_as_they_were() -> None:
    threads = torch.get_num_threads()
    devices.speed_beside_float32.cache_clear()
    assert 1e-4 < devices.speed_beside_float32(torch.bfloat16, CPU) < 1e2
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_runs_matrix_products_in_the_chosen_type(dtype: torch.dtype) -> None:
    matrix = torch.ones(2, 2)
    with devices.autocast(CPU, dtype):
        assert (matrix @ matrix).dtype == dtype
    assert matrix.dtype == torch.float32


@pytest.mark.parametrize("dtype", devices.DTYPES.values(), ids=str)
def test_the_peak_of_a_cpu_is_measured(dtype: torch.dtype) -> None:
    peak = devices.peak_flops(CPU, dtype)
    assert peak is not None
    assert 1e8 < peak < 1e16


def test_the_peak_is_taken_of_the_first_product_that_is_not_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []

    def product_seconds(left: torch.Tensor, right: torch.Tensor) -> float:
        sizes.append(len(left))
        return len(left) ** 3 / 2**30  # a second for the size 1024

    monkeypatch.setattr(devices, "_product_seconds", product_seconds)
    assert devices.peak_flops(CPU, torch.float32) == 2 * 2**30
    assert sorted(set(sizes)) == [256, 512]  # 16 and 125 ms


def test_the_peak_is_that_of_the_fastest_layout_at_its_best_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As of float16 without units for it: one layout is fast, and small products are faster."""

    def product_seconds(left: torch.Tensor, right: torch.Tensor) -> float:
        is_of_outputs = left.is_contiguous() and not right.is_contiguous()
        pace = 25e9 if is_of_outputs else 3e9
        return 2 * len(left) ** 3 / (pace if len(left) == 256 else pace / 2)

    monkeypatch.setattr(devices, "_product_seconds", product_seconds)
    assert devices.peak_flops(CPU, torch.float16) == pytest.approx(25e9)


def test_products_that_take_no_time_have_a_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_product_seconds", lambda left, right: 0.0)
    assert devices.peak_flops(CPU, torch.float32)


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


@pytest.mark.parametrize(("limit", "memory"), [("1000000\n", 1_000_000), ("max\n", None)])
def test_the_memory_of_a_container_is_its_limit(
    limit: str, memory: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    path = tmp_path / "memory.max"
    monkeypatch.setattr(devices, "MEMORY_LIMIT", path)
    installed = devices.memory(CPU)  # the file is not there
    path.write_text(limit, encoding="ascii")

    assert devices.memory(CPU) == (memory or installed)


def test_tensors_go_to_a_gpu_from_pinned_memory_without_waiting() -> None:
    rows, gpu = Mock(spec=torch.Tensor), torch.device("cuda")
    assert devices.move(rows, gpu) is rows.pin_memory.return_value.to.return_value
    rows.pin_memory.return_value.to.assert_called_once_with(gpu, non_blocking=True)
    rows.to.assert_not_called()


def test_tensors_that_are_moved_and_read_keep_their_numbers(device: torch.device) -> None:
    moved = devices.move(torch.arange(3.0), device)
    assert moved.device.type == device.type
    assert devices.read(moved) == [0.0, 1.0, 2.0]


def test_the_peak_of_memory_is_that_of_the_tensors_at_once(device: torch.device) -> None:
    def work() -> None:
        for _ in range(3):
            torch.ones(2**20, device=device)

    peak = devices.peak_memory(device, work)
    assert peak is not None
    assert 2**22 <= peak < 2 * 2**22


def test_a_gpu_has_a_name_and_memory(gpu: torch.device) -> None:
    assert devices.describe(gpu)
    assert (devices.memory(gpu) or 0) > 2**30
    assert devices.select_device("auto").type == "cuda"
