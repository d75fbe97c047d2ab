"""Generation on a GPU: the network with its cache, and a CUDA graph for each step."""

from typing import Any

import pytest
import torch
from torch import Tensor

from gpt2.config import GenerationConfig, GPT2Config
from gpt2.files.pretrained import GPT2
from gpt2.generation.generate import generate
from gpt2.generation.runner import Piece
from gpt2.generation.torch_runner import TorchRunner

SHAPE = {"vocab_size": 307, "n_positions": 70, "n_embd": 64, "n_layer": 3, "n_head": 4}
# Of the largest logit. The cache holds keys and values in the dtype, as they are without one.
DTYPES = pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [(torch.float32, 1e-5), (torch.bfloat16, 3e-2), (torch.float16, 5e-3)],
    ids=str,
)
BOTH = pytest.mark.parametrize("backend", ["manual", "flash"])


def make(backend: Any, device: torch.device, dtype: torch.dtype) -> GPT2:
    config = GPT2Config(**SHAPE, initializer_range=0.1)  # type: ignore[arg-type]
    return GPT2(config, seed=3, attention=backend).eval().to(device, dtype)


def some_ids(count: int, seed: int = 0) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 307, (count,), generator=generator).tolist()


@torch.inference_mode()
def assert_logits(found: Tensor, model: GPT2, ids: list[int], tolerance: float) -> None:
    """Compare with the logits of the whole text in float64, on a CPU."""
    exact = GPT2(model.config).double().eval()
    exact.load_state_dict({name: value.double() for name, value in model.state_dict().items()})
    wanted = exact(torch.tensor([ids]))[0, -len(found) :]
    error = (found.cpu().double() - wanted).abs().max()
    assert error <= tolerance * wanted.abs().max()


@DTYPES
@BOTH
def test_cached_logits_are_those_of_the_whole_text(
    device: torch.device, dtype: torch.dtype, tolerance: float, backend: Any
) -> None:
    model = make(backend, device, dtype)
    runner, ids = TorchRunner(model, slots=2), some_ids(70)
    cache = runner.new_cache(70)
    logits = [runner.run([Piece(cache, ids[:33], wanted=33)]).values.clone()]
    logits += [runner.run([Piece(cache, [i])]).values.clone() for i in ids[33:]]
    assert_logits(torch.cat(logits), model, ids, tolerance)


@DTYPES
@BOTH
def test_texts_of_other_lengths_beside_it_do_not_change_a_text(
    device: torch.device, dtype: torch.dtype, tolerance: float, backend: Any
) -> None:
    model = make(backend, device, dtype)
    runner = TorchRunner(model, slots=4)
    texts = [some_ids(length, seed=length) for length in (40, 3, 17)]
    caches = [runner.new_cache(70) for _ in texts]
    runner.run([Piece(c, ids[:-2], 0) for c, ids in zip(caches, texts, strict=True)])
    for place in (-2, -1):  # the second is a replay of the first
        pieces = [Piece(c, [ids[place]]) for c, ids in zip(caches, texts, strict=True)]
        values = runner.run(pieces).values
    for row, ids in enumerate(texts):
        assert_logits(values[row : row + 1], model, ids, tolerance)

    # All end, and another takes the first place: one row, and so another graph.
    ids = some_ids(9, seed=9)
    pieces.clear()
    caches.clear()
    cache = runner.new_cache(70)
    runner.run([Piece(cache, ids[:-1])])
    assert_logits(runner.run([Piece(cache, ids[-1:])]).values, model, ids, tolerance)


@BOTH
def test_greedy_texts_are_those_of_a_cpu(device: torch.device, backend: Any) -> None:
    prompts = [some_ids(length, seed=length) for length in (5, 1, 12)]
    config = GenerationConfig(max_new_tokens=80, temperature=0.0)  # beyond n_positions
    cpu = torch.device("cpu")
    wanted = generate(make("flash", cpu, torch.float32), prompts, config)
    found = generate(make(backend, device, torch.float32), prompts, config)
    assert [sample.ids for sample in found] == [sample.ids for sample in wanted]
    assert all(len(sample.ids) == 80 for sample in found)


def test_a_seed_draws_the_same_text_again(device: torch.device) -> None:
    model = make("flash", device, torch.float32)
    config = GenerationConfig(max_new_tokens=30, top_k=40, top_p=0.9, seed=5)
    texts = [generate(model, [[1, 2, 3]], config)[0].ids for _ in range(2)]
    assert texts[0] == texts[1]
    assert len(set(texts[0])) > 5


def test_a_step_is_recorded_once_for_each_number_of_rows(
    gpu: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded: list[int] = []
    record = TorchRunner._record

    def counted(runner: TorchRunner, inputs: Tensor) -> Any:
        recorded.append(inputs.size(1))
        return record(runner, inputs)

    monkeypatch.setattr(TorchRunner, "_record", counted)
    runner = TorchRunner(make("flash", gpu, torch.float32), slots=4)
    first, second = runner.new_cache(70), runner.new_cache(70)
    for _ in range(3):
        runner.run([Piece(first, [1])])
        runner.run([Piece(first, [1]), Piece(second, [2])])
    assert recorded == [1, 2]


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")  # torch's own
def test_a_decoding_step_waits_for_the_gpu_once(
    gpu: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = TorchRunner(make("flash", gpu, torch.float32), slots=2)
    caches = [runner.new_cache(70) for _ in range(2)]
    result = TorchRunner._result

    def allowed(runner: TorchRunner, logits: Tensor) -> Any:
        torch.cuda.set_sync_debug_mode("default")
        return result(runner, logits)

    for _ in range(2):
        runner.run([Piece(cache, [1]) for cache in caches])  # records
    monkeypatch.setattr(TorchRunner, "_result", allowed)
    torch.cuda.set_sync_debug_mode("error")
    try:
        runner.run([Piece(cache, [2]) for cache in caches])
    finally:
        torch.cuda.set_sync_debug_mode("default")
