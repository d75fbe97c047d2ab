"""The same weights in transformers' GPT-2 and ours: logits, states, loss, gradients, text."""

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from gpt2.config import GenerationConfig
from gpt2.files.pretrained import GPT2
from gpt2.generation.generate import generate

# The dimensions of no two are alike; heads, layers, inner channels and vocabularies are odd.
BASE = {"vocab_size": 301, "n_positions": 40, "n_embd": 35, "n_layer": 3, "n_head": 5}
CONFIGS: dict[str, dict[str, Any]] = {
    "as released": {},
    "one head": {"n_head": 1},
    "one channel a head": {"n_head": 35},
    "narrow MLP": {"n_inner": 17},
    "wide MLP": {"n_inner": 211},
    "other epsilon": {"layer_norm_epsilon": 1e-3},
    "gelu": {"activation_function": "gelu"},
    "gelu_fast": {"activation_function": "gelu_fast"},
    "gelu_pytorch_tanh": {"activation_function": "gelu_pytorch_tanh"},
    "relu": {"activation_function": "relu"},
    "silu": {"activation_function": "silu"},
    "swish": {"activation_function": "swish"},
    "scores not scaled": {"scale_attn_weights": False},
    "scores scaled by block": {"scale_attn_by_inverse_layer_idx": True},
    "upcast scores": {"reorder_and_upcast_attn": True},
    "as Mistral's": {"scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True},
    "untied": {"tie_word_embeddings": False},
}


def pair(
    directory: Path, settings: dict[str, Any], attention: str = "eager"
) -> tuple[transformers.GPT2LMHeadModel, GPT2]:
    """Return transformers' model with random weights, and ours that was loaded from its files."""
    torch.manual_seed(0)
    # No token ends a text, so that greedy texts have their full length.
    config = transformers.GPT2Config(**settings, bos_token_id=None, eos_token_id=None)
    theirs = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    theirs.save_pretrained(directory)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(
        directory, attn_implementation=attention, dtype=torch.float32
    )
    return theirs.eval(), GPT2.from_pretrained(directory)


def relative_error(got: Tensor, expected: Tensor) -> float:
    return ((got - expected).abs().max() / expected.abs().max()).item()


def some_ids(rows: int, length: int) -> Tensor:
    return torch.randint(0, 301, (rows, length), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("settings", CONFIGS.values(), ids=CONFIGS.keys())
@pytest.mark.parametrize("backend", ["manual", "flash"])
def test_logits_hidden_states_loss_and_gradients_are_equal(
    tmp_path: Path, settings: dict[str, Any], backend: str
) -> None:
    theirs, ours = pair(tmp_path, BASE | settings)
    ours.set_attention(backend)
    ids = some_ids(3, 40)
    states: list[Tensor] = []
    hooks = [block.register_forward_hook(lambda *call: states.append(call[2])) for block in ours.h]

    expected = theirs(ids, labels=ids, output_hidden_states=True)
    expected.loss.backward()
    logits = ours(ids)
    for hook in hooks:
        hook.remove()
    loss = ours.loss(ids[:, :-1], ids[:, 1:])
    loss.backward()

    assert relative_error(logits, expected.logits) < 1e-5
    # transformers lists the embeddings first, and the last block's state normalized.
    for state, wanted in zip(states[:-1], expected.hidden_states[1:-1], strict=True):
        assert relative_error(state, wanted) < 1e-5
    assert relative_error(ours.ln_f(states[-1]), expected.hidden_states[-1]) < 1e-5
    assert loss.item() == pytest.approx(expected.loss.item(), rel=1e-6)
    gradients = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    for name, parameter in ours.named_parameters():
        wanted = gradients.pop(name if name == "lm_head.weight" else f"transformer.{name}")
        if parameter.ndim == 2 and name.startswith("h."):
            wanted = wanted.t()
        assert relative_error(parameter.grad, wanted) < 1e-4, name
    assert not gradients


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_files_give_the_same_logits_up_to_rounding(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    theirs, _ = pair(tmp_path, BASE)
    theirs.to(dtype).save_pretrained(tmp_path)
    ours, ids = GPT2.from_pretrained(tmp_path), some_ids(2, 30)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path)
    assert ours.wte.weight.dtype == theirs.dtype == dtype
    with torch.no_grad():
        exact = GPT2.from_pretrained(tmp_path, dtype=torch.float32)(ids)
        got, wanted = ours(ids).float(), theirs(ids).logits.float()
    # As near to the exact logits as transformers comes, within a factor for luck.
    assert relative_error(got, exact) < 2 * relative_error(wanted, exact) + 1e-3


def test_rows_padded_on_the_right_are_as_if_alone(tmp_path: Path) -> None:
    theirs, ours = pair(tmp_path, BASE, attention="sdpa")
    ids = some_ids(4, 30)
    lengths = torch.tensor([30, 7, 1, 19])
    real = torch.arange(30) < lengths[:, None]
    labels = ids.masked_fill(~real, -100)
    with torch.no_grad():
        expected = theirs(ids, attention_mask=real.long(), labels=labels)
        logits = ours(ids)
        loss = ours.loss(ids[:, :-1], labels[:, 1:])
    assert relative_error(logits[real], expected.logits[real]) < 1e-5
    assert loss.item() == pytest.approx(expected.loss.item(), rel=1e-6)


def test_greedy_texts_of_twenty_prompts_are_equal_for_200_tokens(tmp_path: Path) -> None:
    theirs, ours = pair(tmp_path, BASE | {"n_positions": 256}, attention="sdpa")
    prompts = [some_ids(1, length + 1)[0].tolist() for length in range(20)]
    longest = max(map(len, prompts))
    padded = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    # In float64: its float32, which adds up a padded batch in another order, differs at near ties.
    expected = theirs.double().generate(
        padded, attention_mask=mask, max_new_tokens=200, do_sample=False, pad_token_id=0
    )

    samples = generate(ours, prompts, GenerationConfig(max_new_tokens=200, temperature=0))

    assert len({tuple(sample.ids) for sample in samples}) > 10  # the prompts do matter
    for sample, row in zip(samples, expected, strict=True):
        assert sample.ids == row[longest:].tolist()


def test_the_end_of_a_text_is_what_the_files_say(tmp_path: Path) -> None:
    theirs, ours = pair(tmp_path, BASE)
    [full] = generate(ours, [[1, 2, 3]], GenerationConfig(max_new_tokens=9, temperature=0))
    theirs.config.eos_token_id = theirs.generation_config.eos_token_id = [full.ids[4], 300]
    theirs.save_pretrained(tmp_path)
    ours = GPT2.from_pretrained(tmp_path)
    [cut] = generate(ours, [[1, 2, 3]], GenerationConfig(max_new_tokens=9, temperature=0))
    assert cut.ids == full.ids[: full.ids.index(full.ids[4])]
    assert cut.finish_reason == "end_of_text"
    ours.save_pretrained(tmp_path / "again")
    assert GPT2.from_pretrained(tmp_path / "again").end_ids == {full.ids[4], 300}
