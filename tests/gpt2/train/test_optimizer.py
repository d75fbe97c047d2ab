from dataclasses import replace

import pytest
import torch

from gpt2.config import GPT2Config, OptimizerConfig, OptimizerKind
from gpt2.files.pretrained import GPT2
from gpt2.train.muon import Muon
from gpt2.train.optimizer import make_optimizers, set_learning_rate

MATRICES = ("c_attn.weight", "c_proj.weight", "c_fc.weight")


def names_by_decay(model: GPT2, optimizer: torch.optim.Optimizer) -> dict[float, set[str]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found: dict[float, set[str]] = {}
    for group in optimizer.param_groups:
        found.setdefault(group["weight_decay"], set()).update(
            names[id(parameter)] for parameter in group["params"]
        )
    return found


def test_matrices_decay_and_biases_and_gains_do_not(model: GPT2) -> None:
    [optimizer] = make_optimizers(model, OptimizerConfig(weight_decay=0.3))
    groups = names_by_decay(model, optimizer)
    expected = {"wte.weight", "wpe.weight"} | {
        f"h.{i}.{name}"
        for i in range(3)
        for name in (
            "attn.c_attn.weight",
            "attn.c_proj.weight",
            "mlp.c_fc.weight",
            "mlp.c_proj.weight",
        )
    }
    assert groups[0.3] == expected
    assert groups[0.0] == set(dict(model.named_parameters())) - expected


def test_muon_takes_the_matrices_inside_the_blocks_and_adamw_the_rest(model: GPT2) -> None:
    muon, adamw = make_optimizers(model, OptimizerConfig(kind="muon", weight_decay=0.3))
    assert isinstance(muon, Muon)
    inside = names_by_decay(model, muon)[0.3]
    assert inside == {n for n, _ in model.named_parameters() if n.endswith(MATRICES)}
    assert names_by_decay(model, adamw)[0.3] == {"wte.weight", "wpe.weight"}
    covered = inside.union(*names_by_decay(model, adamw).values())
    assert covered == set(dict(model.named_parameters()))


def test_the_first_step_of_adamw_is_as_computed_by_hand() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(layer.weight, 2.0)
    layer.weight.grad = torch.tensor([[5.0]])
    [optimizer] = make_optimizers(layer, OptimizerConfig(learning_rate=0.1, weight_decay=0.5))
    optimizer.step()
    # Decay takes 0.1 * 0.5 of the weight; the first step is the rate times the gradient's sign.
    assert layer.weight.item() == pytest.approx(2.0 * (1 - 0.05) - 0.1)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["adamw", "muon", "normuon"])
def test_embeddings_keep_the_ratio_of_their_rate_to_the_others(
    kind: OptimizerKind, tied: bool
) -> None:
    shape = GPT2Config(vocab_size=9, n_positions=4, n_embd=6, n_layer=1, n_head=2)
    model = GPT2(replace(shape, tie_word_embeddings=tied))
    config = OptimizerConfig(kind=kind, learning_rate=0.01, embedding_learning_rate=0.03)
    optimizers = make_optimizers(model, config)
    set_learning_rate(optimizers, 0.005)
    rates = {
        id(parameter): group["lr"]
        for optimizer in optimizers
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    for name, parameter in model.named_parameters():
        expected = 0.015 if name in ("wte.weight", "wpe.weight") else 0.005
        assert rates[id(parameter)] == pytest.approx(expected), name
