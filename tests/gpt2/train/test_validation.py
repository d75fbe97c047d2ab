import numpy as np
import pytest
import torch

from gpt2.data.batches import TokenStream
from gpt2.files.pretrained import GPT2
from gpt2.train.distributed import Processes
from gpt2.train.validation import held_out_loss, samples


class Share(Processes):
    """One of several processes, whose sums the test adds up."""

    def sum(self, value: float) -> float:
        return value


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@torch.no_grad()
def test_processes_divide_the_held_out_rows_and_find_the_loss_of_one(
    model: GPT2, count: int
) -> None:
    tokens = np.random.default_rng(0).integers(0, 300, 24 * 7 + 1).astype(np.uint16)
    evaluate = held_out_loss(TokenStream([tokens], 24), val_tokens=24 * 5, batch_rows=2)
    rows = torch.from_numpy(TokenStream([tokens], 24).read_rows(range(5)))
    expected = model.loss(rows[:, :-1], rows[:, 1:]).item()
    shares = [evaluate(model, Share(torch.device("cpu"), rank, count)) for rank in range(count)]
    assert sum(share["val_loss"] for share in shares) == pytest.approx(expected, rel=1e-6)
    assert {share["val_tokens"] for share in shares} == {120}


def test_samples_are_the_same_each_time(model: GPT2) -> None:
    evaluate = samples(["Permission", "The"], tokens=4)
    alone = Processes(torch.device("cpu"))
    first, second = evaluate(model, alone), evaluate(model, alone)
    assert first == second
    assert [sample["prompt"] for sample in first["samples"]] == ["Permission", "The"]
    assert samples([], tokens=4)(model, alone) == {}
