import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gpt2.errors import InputError, NotFiniteError
from gpt2.files.pretrained import GPT2
from gpt2.model.quantized import quantize_network
from gpt2.visual.capture import record
from gpt2.visual.pictures.flow import flow
from gpt2.visual.pictures.lens import lens
from gpt2.visual.pictures.next_tokens import next_tokens
from gpt2.visual.pictures.tokens import surprisals

IDS = [5, 80, 290, 17, 17]


def test_what_is_recorded_is_what_transformers_computes(model: GPT2, tmp_path: Path) -> None:
    import transformers

    model.save_pretrained(tmp_path)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path, attn_implementation="eager")
    with torch.no_grad():
        expected = theirs(torch.tensor([IDS]), output_attentions=True, output_hidden_states=True)
    recording = record(model, IDS)
    for block, weights in enumerate(expected.attentions):
        torch.testing.assert_close(recording.weights(block), weights[0])
    *streams, final = expected.hidden_states  # before each block, and after the last, normalized
    torch.testing.assert_close(recording.stream()[:-1:2], torch.cat(streams))
    torch.testing.assert_close(recording.final, final[0])
    torch.testing.assert_close(recording.logits, expected.logits[0])


def test_the_stream_ends_in_what_the_final_norm_reads(model: GPT2) -> None:
    recording = record(model, IDS)
    with torch.no_grad():
        torch.testing.assert_close(model.ln_f(recording.stream()[-1]), recording.final)


def test_values_weighted_by_attention_make_what_attention_adds(model: GPT2) -> None:
    recording = record(model, IDS)
    mixed = recording.weights(1) @ recording.values[1]  # (H, T, D)
    with torch.no_grad():
        added = model.block(1).attn.c_proj(mixed.transpose(0, 1).flatten(1))
    torch.testing.assert_close(added, recording.attention[1])


def test_the_last_logits_alone_can_be_had(model: GPT2) -> None:
    whole, last = record(model, IDS), record(model, IDS, last=2)
    assert last.logits.shape == (2, 300)
    torch.testing.assert_close(last.logits, whole.logits[-2:])
    assert torch.equal(last.final, whole.final)


def test_queries_keys_and_values_are_those_that_attention_takes(model: GPT2) -> None:
    quantize_network(model, 8)
    recording = record(model, IDS)
    with torch.no_grad():
        block = model.block(1)
        expected = block.attn.project(block.ln_1(recording.stream()[2][None]))
    for found, each in zip(
        (recording.queries, recording.keys, recording.values), expected, strict=True
    ):
        torch.testing.assert_close(found[1], each[0])


@pytest.mark.parametrize("picture", [next_tokens, flow, lens, surprisals])
def test_a_model_that_has_diverged_predicts_nothing(picture: Any, model: GPT2) -> None:
    with torch.no_grad():
        model.ln_f.weight[3] = torch.nan
    with pytest.raises(NotFiniteError, match="the model has diverged; take an earlier checkpoint"):
        picture(model, record(model, IDS))


def test_recording_leaves_the_model_as_it_was(model: GPT2) -> None:
    model.train()
    record(model, [1, 2], last=1)
    assert model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("count", [0, 25])
def test_a_text_must_fit_into_the_context(model: GPT2, count: int) -> None:
    with pytest.raises(InputError, match=f"must have 1 to 24 tokens.* got {count}"):
        record(model, [1] * count)


@pytest.mark.parametrize("last", [None, 2])
def test_another_thread_that_runs_the_model_changes_nothing(
    model: GPT2, ids: Tensor, last: int | None
) -> None:
    alone = record(model, ids[0].tolist(), last=last)
    others: list[Tensor] = []

    def run_elsewhere(module: object, inputs: object, output: object) -> None:
        if threading.current_thread() is threading.main_thread():
            thread = threading.Thread(target=lambda: others.append(model(ids[1:, :5])))
            thread.start()
            thread.join()

    hooks = [part.register_forward_hook(run_elsewhere) for part in (*model.h, model.ln_f)]
    crowded = record(model, ids[0].tolist(), last=last)
    for hook in hooks:
        hook.remove()

    assert crowded.scales == alone.scales
    for name in ("embeddings", "queries", "values", "attention", "mlp", "final", "logits"):
        torch.testing.assert_close(getattr(crowded, name), getattr(alone, name), rtol=0, atol=0)
    assert {other.shape[1] for other in others} == {5}
