import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gpt2.config import GPT2Config
from gpt2.errors import ConfigError, InputError
from gpt2.model.gpt import GPT2Network


def test_the_released_model_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):  # shapes alone
        counts = {
            name: sum(p.numel() for p in GPT2Network(GPT2Config.preset(name)).parameters())
            for name in ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl")
        }
    assert list(counts.values()) == [124_439_808, 354_823_168, 774_030_080, 1_557_611_200]


def test_a_block_that_adds_nothing_leaves_the_embeddings(model: GPT2Network, ids: Tensor) -> None:
    for name, parameter in model.named_parameters():
        if "c_proj" in name:
            nn.init.zeros_(parameter)
    embedded = model.wte.weight[ids] + model.wpe.weight[: ids.size(1)]
    expected = F.layer_norm(embedded, (20,), model.ln_f.weight, model.ln_f.bias)
    torch.testing.assert_close(model.hidden(ids), expected)
    torch.testing.assert_close(model(ids), expected @ model.wte.weight.T)


def test_an_untrained_model_is_as_good_as_chance(ids: Tensor) -> None:
    network = GPT2Network(GPT2Config(vocab_size=300, n_embd=48, n_layer=2, n_head=4))
    assert network.loss(ids, ids.flip(1)).item() == pytest.approx(math.log(300), abs=0.05)


def test_loss_is_the_mean_negative_log_likelihood(model: GPT2Network, ids: Tensor) -> None:
    logits = model(ids[:, :-1]).double()
    likelihoods = logits.softmax(-1).gather(-1, ids[:, 1:, None])
    expected = -likelihoods.log().mean().item()
    assert model.loss(ids[:, :-1], ids[:, 1:]).item() == pytest.approx(expected, abs=1e-5)


def test_every_mixture_of_backends_gives_the_same_logits(model: GPT2Network, ids: Tensor) -> None:
    flash = model(ids)
    for chosen in range(8):
        model.set_attention("flash")
        model.set_attention("manual", blocks=[i for i in range(3) if chosen >> i & 1])
        torch.testing.assert_close(model(ids), flash, atol=1e-4, rtol=1e-4)


def test_a_block_that_does_not_exist_is_refused(model: GPT2Network) -> None:
    with pytest.raises(ConfigError, match=r"blocks must be 0 to 2, got \[3\]"):
        model.set_attention("manual", blocks=[0, 3])


@pytest.mark.parametrize("drop_rate", [0.0, 0.3])
def test_gradient_checkpointing_changes_neither_loss_nor_gradients(
    ids: Tensor, drop_rate: float
) -> None:
    rates = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), drop_rate)
    network = GPT2Network(GPT2Config(vocab_size=300, n_embd=24, n_layer=2, n_head=2, **rates))
    outcomes = []
    for network.gradient_checkpointing in (False, True):
        network.zero_grad()
        torch.manual_seed(0)
        loss = network.loss(ids, ids)
        loss.backward()
        outcomes.append([loss, *(parameter.grad for parameter in network.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*outcomes, strict=True))


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        (torch.zeros(1, 25, dtype=torch.long), r"1 to 24 tokens\), got the shape \(1, 25\)"),
        (torch.zeros(1, 0, dtype=torch.long), r"got the shape \(1, 0\)"),
        (torch.zeros(5, dtype=torch.long), r"got the shape \(5,\)"),
        (torch.tensor([[3, 300]]), "ids must be 0 to 299, .* got 3 to 300"),
        (torch.tensor([[-1, 3]]), "ids must be 0 to 299, .* got -1 to 3"),
    ],
)
def test_ids_that_the_model_cannot_read_are_refused(
    model: GPT2Network, ids: Tensor, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        model(ids)


def test_ids_and_targets_of_different_shapes_are_refused(model: GPT2Network, ids: Tensor) -> None:
    with pytest.raises(InputError, match=r"one shape, got \(2, 16\) and \(2, 15\)"):
        model.loss(ids, ids[:, 1:])
