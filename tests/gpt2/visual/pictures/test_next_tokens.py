import math
from dataclasses import replace

import pytest
import torch

from gpt2.errors import InputError
from gpt2.files.pretrained import GPT2
from gpt2.visual.capture import record
from gpt2.visual.pictures.next_tokens import next_tokens

IDS = [5, 80, 290, 17, 17]


def test_probabilities_are_the_softmax_of_the_last_logits(model: GPT2) -> None:
    logits = torch.full((1, 300), -math.inf)
    logits[0, [40, 30, 20]] = torch.tensor([1.0, 2.0, 1.0]).log()
    recording = replace(record(model, IDS), logits=logits)
    picture = next_tokens(model, recording, 3)
    assert picture.ids == [30, 20, 40]  # of equal ones the lowest first
    assert picture.probabilities == pytest.approx([0.5, 0.25, 0.25])
    assert picture.tokens == [model.require_tokenizer().decode([i]) for i in (30, 20, 40)]


def test_it_is_what_the_model_says(model: GPT2) -> None:
    with torch.no_grad():
        expected = model(torch.tensor([IDS]))[0, -1].softmax(-1).topk(10)
    picture = next_tokens(model, record(model, IDS))
    assert picture.ids == expected.indices.tolist()
    assert picture.probabilities == pytest.approx(expected.values.tolist(), rel=1e-5)


def test_a_bar_is_as_long_as_its_probability(model: GPT2) -> None:
    picture = next_tokens(model, record(model, IDS), 4)
    (axes,) = picture.figure().axes
    lengths = [bar.get_width() for bar in axes.patches]
    assert lengths == pytest.approx([100 * each for each in picture.probabilities])
    assert len(axes.get_yticklabels()) == 4
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the likeliest on top


def test_the_title_has_the_end_of_the_text(model: GPT2) -> None:
    picture = next_tokens(model, record(model, IDS))
    assert replace(picture, text=["Hi", " $"]).heading() == "Next token after “Hi $”"
    shown = replace(picture, text=["word"] * 20).heading()
    assert shown == "Next token after “…" + "word" * 8 + "”"


@pytest.mark.parametrize("top", [0, 61])
def test_the_number_of_bars_is_bounded(model: GPT2, top: int) -> None:
    with pytest.raises(InputError, match=f"top must be 1 to 60, got {top}"):
        next_tokens(model, record(model, IDS), top)


def test_ids_without_a_token_are_left_out(gapped_model: GPT2) -> None:
    picture = next_tokens(gapped_model, record(gapped_model, [4, 7]), 60)
    assert not set(picture.ids) & set(gapped_model.unused_ids)
    logits = record(gapped_model, [4, 7]).logits[-1].double()
    used = [i for i in range(len(logits)) if i not in set(gapped_model.unused_ids)]
    assert picture.probabilities[0] == pytest.approx(float(logits[used].softmax(-1).max()))
