import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend

from gpt2.config import GPT2Config
from gpt2.devices import peak_memory
from gpt2.errors import ConfigError, InputError
from gpt2.model import gpt
from gpt2.model.gpt import MLP, GPT2Network, evaluating

TINY = GPT2Config(
    vocab_size=300,
    n_positions=32,
    n_embd=24,
    n_layer=2,
    n_head=2,
    embd_pdrop=0.0,
    attn_pdrop=0.0,
    resid_pdrop=0.0,
)


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


def outcome(network: GPT2Network, ids: Tensor) -> list[Tensor]:
    """Return logits, loss and every gradient."""
    network.zero_grad()
    loss = network.loss(ids, ids.flip(1))
    loss.backward()
    return [network(ids).detach(), loss, *(p.grad.clone() for p in network.parameters())]


def test_every_mixture_of_backends_gives_the_same_logits_and_gradients(
    model: GPT2Network, ids: Tensor
) -> None:
    flash = outcome(model, ids)
    for chosen in range(1, 8):
        model.set_attention("flash")
        model.set_attention("manual", blocks=[i for i in range(3) if chosen >> i & 1])
        for got, expected in zip(outcome(model, ids), flash, strict=True):
            largest = expected.abs().max().item()
            torch.testing.assert_close(got, expected, atol=1e-5 * largest, rtol=0)


def test_backends_are_chosen_per_block_at_construction_as_at_run_time() -> None:
    network = GPT2Network(TINY, attention="manual", attention_blocks=[1])
    assert [network.block(i).attn.backend for i in range(2)] == ["flash", "manual"]
    network.set_attention("manual")
    network.set_attention("flash", blocks=[1])
    assert [network.block(i).attn.backend for i in range(2)] == ["manual", "flash"]


def test_an_untied_head_has_weights_of_its_own(ids: Tensor) -> None:
    network = GPT2Network(replace(TINY, tie_word_embeddings=False))
    assert network.num_parameters() == GPT2Network(TINY).num_parameters() + 300 * 24
    expected = network.hidden(ids) @ network.lm_head.weight.T
    torch.testing.assert_close(network(ids), expected)
    network.loss(ids, ids).backward()
    assert network.lm_head.weight.grad.any()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2, x * P(N(0, 1) < x), max(x, 0)
        # and x / (1 + exp(-x)) at x = 1 and -1.
        ("gelu_new", [0.8411920, -0.1588080]),
        ("gelu_pytorch_tanh", [0.8411920, -0.1588080]),
        ("gelu_fast", [0.8411920, -0.1588080]),
        ("gelu", [0.8413447, -0.1586553]),
        ("relu", [1.0, 0.0]),
        ("silu", [0.7310586, -0.2689414]),
        ("swish", [0.7310586, -0.2689414]),
    ],
)
def test_activations_are_those_of_their_formulas(name: str, expected: list[float]) -> None:
    activation = MLP(replace(TINY, activation_function=name)).activation
    got = activation(torch.tensor([1.0, -1.0]))
    torch.testing.assert_close(got, torch.tensor(expected), atol=1e-6, rtol=0)


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


def peak_of_a_step(network: GPT2Network) -> float:
    """Return the most memory of a step, in the bytes of (B, T, C), B * T being 256."""
    ids = torch.zeros(4, 64, dtype=torch.long)
    network.loss(ids, ids).backward()  # so that the gradients are there
    peak = peak_memory(torch.device("cpu"), lambda: network.loss(ids, ids).backward())
    assert peak
    return peak / (4 * ids.numel() * network.config.n_embd)


def test_gradient_checkpointing_keeps_the_input_of_each_block_alone() -> None:
    network = GPT2Network(replace(TINY, n_layer=8, n_positions=64))
    # A block saves some 16 streams for its backward pass. All 8 are kept without checkpointing;
    # with it one block's, and the input of each.
    assert peak_of_a_step(network) > 8 * 14
    network.gradient_checkpointing = True
    assert peak_of_a_step(network) < 8 + 2 * 16


def test_large_activations_are_computed_anew_and_change_nothing(
    ids: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = GPT2Network(replace(TINY, n_layer=8, n_positions=64))
    kept, kept_peak = outcome(network, ids), peak_of_a_step(network)
    monkeypatch.setattr(gpt, "RECOMPUTED_BYTES", 0)
    anew = outcome(network, ids)
    assert all(torch.equal(a, b) for a, b in zip(kept, anew, strict=True))
    # In each block one MLP's, which is four times as wide as the stream.
    assert peak_of_a_step(network) == pytest.approx(kept_peak - 8 * 4, abs=2)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # torch's own
@pytest.mark.parametrize("by_layer", [False, True])
def test_blocks_are_compiled_once_for_training_and_evaluation_and_any_length(
    by_layer: bool, ids: Tensor
) -> None:
    config = replace(TINY, n_layer=9, scale_attn_by_inverse_layer_idx=by_layer)
    network, eager = GPT2Network(config), GPT2Network(config)
    counter = CompileCounterWithBackend("eager")
    network.compile(backend=counter)
    counts = []

    def note(got: Tensor, expected: Tensor) -> None:
        torch.testing.assert_close(got, expected)
        counts.append(counter.frame_count)

    for _ in range(3):
        loss = network.loss(ids, ids)
        loss.backward()
        note(loss, eager.loss(ids, ids))
    with torch.inference_mode(), evaluating(network), evaluating(eager):
        for _ in range(3):
            note(network.loss(ids, ids), eager.loss(ids, ids))
        for length in range(3, 12):
            note(network(ids[:1, :length]), eager(ids[:1, :length]))

    per_block = 9 if by_layer else 1  # more than the 8 that torch compiles of one function
    # One graph for training, one for evaluation, one for all other lengths.
    assert [count / per_block for count in counts] == [1] * 3 + [2] * 3 + [3] * 9
    assert not [name for name in network.state_dict() if "_orig_mod" in name]


@pytest.mark.parametrize(
    ("ids", "told"),
    [
        (torch.zeros(1, 25, dtype=torch.long), r"1 to 24 tokens\), got the shape \(1, 25\)"),
        (torch.zeros(1, 0, dtype=torch.long), r"got the shape \(1, 0\)"),
        (torch.zeros(5, dtype=torch.long), r"got the shape \(5,\)"),
        (torch.tensor([[3, 300]]), "ids must be 0 to 299, .* got 3 to 300"),
        (torch.tensor([[-1, 3]]), "ids must be 0 to 299, .* got -1 to 3"),
        (torch.zeros(1, 3), "ids must be of torch.int64 or torch.int32, got torch.float32"),
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


@pytest.mark.parametrize("outside", [-1, 300])
def test_targets_outside_the_vocabulary_are_refused(
    model: GPT2Network, ids: Tensor, outside: int
) -> None:
    targets = ids.clone()
    targets[0, 0] = outside
    with pytest.raises(InputError, match="targets must be 0 to 299"):
        model.loss(ids, targets)


def test_targets_that_are_ignored_do_not_count(model: GPT2Network, ids: Tensor) -> None:
    targets = ids.clone()
    targets[:, 5:] = -100
    expected = F.cross_entropy(model(ids)[:, :5].flatten(0, 1), ids[:, :5].flatten())
    torch.testing.assert_close(model.loss(ids, targets), expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_and_autocast_in_half_precision_give_nearly_the_same_loss(
    ids: Tensor, dtype: torch.dtype
) -> None:
    network = GPT2Network(TINY)
    exact = network.loss(ids, ids.flip(1)).item()
    with torch.autocast("cpu", dtype):
        network.loss(ids, ids.flip(1)).backward()
        assert network.loss(ids, ids.flip(1)).item() == pytest.approx(exact, abs=2e-3)
    assert network.wte.weight.grad.dtype == torch.float32
    network.to(dtype).zero_grad()
    network.loss(ids, ids.flip(1)).backward()
    assert network.loss(ids, ids.flip(1)).item() == pytest.approx(exact, abs=2e-3)
    assert network.wte.weight.grad.dtype == dtype


def test_the_operations_of_a_token_are_counted_by_hand() -> None:
    config = GPT2Config(vocab_size=10, n_positions=8, n_embd=4, n_layer=2, n_head=2)
    # A block has 12 C^2 weights and 13 C biases and gains; ln_f has 2 C, the tied head V C.
    multiplied = 2 * (12 * 16 + 13 * 4) + 2 * 4 + 10 * 4
    network = GPT2Network(config)
    assert network.flops_per_token() == 6 * multiplied + 12 * 2 * 4 * 8
    assert network.flops_per_token(3) == 6 * multiplied + 12 * 2 * 4 * 3
