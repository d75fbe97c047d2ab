import copy

import numpy as np
import pytest
import torch

from gpt2.files.pretrained import GPT2
from gpt2.model.quantized import quantize_network
from gpt2.visual.capture import record
from gpt2.visual.pictures.flow import Flow, attribute, flow
from llm_tokenizer.errors import UnknownTokenError

IDS = [5, 80, 290, 17, 17]


@pytest.fixture
def uneven(model: GPT2) -> GPT2:
    """A model whose final norm has weights other than 1 and a bias."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        model.ln_f.weight.copy_(torch.randn(20, generator=generator))
        model.ln_f.bias.copy_(torch.randn(20, generator=generator))
    return model


def test_the_parts_add_up_to_the_logit_and_to_the_mean_of_all(uneven: GPT2) -> None:
    recording = record(uneven, IDS)
    for token in (0, 17, 299):
        added, added_to_mean = attribute(uneven, recording, token)
        torch.testing.assert_close(added.sum(), recording.logits[-1, token])
        torch.testing.assert_close(added_to_mean.sum(), recording.logits[-1].mean())


def test_a_part_is_what_the_logit_lacks_without_it_at_a_fixed_scale(uneven: GPT2) -> None:
    recording = record(uneven, IDS)
    stream = recording.stream()[:, -1]
    mlp = recording.mlp[1, -1]
    final, norm = stream[-1], uneven.ln_f
    deviation = (final.var(correction=0) + norm.eps).sqrt()
    with torch.no_grad():
        without = final - mlp
        normed = (without - without.mean()) / deviation * norm.weight + norm.bias
        lacking = recording.logits[-1, 17] - normed @ uneven.wte.weight[17]
    added, _ = attribute(uneven, recording, 17)
    torch.testing.assert_close(added[4], lacking)  # after embeddings, attention, MLP, attention


def test_parts_are_named_in_the_order_in_which_they_add(uneven: GPT2) -> None:
    picture = flow(uneven, record(uneven, IDS))
    assert picture.parts[:3] == ["embeddings", "block 0 attention", "block 0 MLP"]
    assert picture.parts[-2:] == ["block 2 MLP", "bias of ln_f"]
    assert len(picture.added) == len(picture.parts) == 8


def test_the_token_is_the_likeliest_or_the_one_asked_for(uneven: GPT2) -> None:
    recording = record(uneven, IDS)
    likeliest = flow(uneven, recording)
    assert likeliest.id == int(recording.logits[-1].argmax())
    chosen = flow(uneven, recording, " the")
    assert chosen.token == " the"
    probability = recording.logits[-1].softmax(-1)[chosen.id].item()
    assert chosen.probability == pytest.approx(probability)
    with pytest.raises(UnknownTokenError, match="is not one token of this vocabulary"):
        flow(uneven, recording, "two words")


def test_a_quantized_model_adds_up_too(uneven: GPT2) -> None:
    quantized = copy.deepcopy(uneven)
    quantize_network(quantized, 8, 8)
    recording = record(quantized, IDS)
    added, _ = attribute(quantized, recording, 17)
    torch.testing.assert_close(added.sum(), recording.logits[-1, 17], rtol=1e-3, atol=1e-3)


def test_each_bar_begins_where_the_one_before_ends() -> None:
    picture = Flow(
        token=" $x",
        id=3,
        probability=0.25,
        parts=["embeddings", "block 0 attention", "block 0 MLP", "bias of ln_f"],
        added=np.array([1.0, 2.0, -0.5, 0.5]),
        added_to_mean=np.array([0.0, 0.5, 0.5, 0.0]),
    )
    (axes,) = picture.figure().axes
    bars = {round(bar.get_x() + bar.get_width() / 2): bar for bar in axes.patches}
    assert [bars[i].get_y() for i in range(4)] == [0, 1, 2.5, 1.5]
    assert [bars[i].get_height() for i in range(4)] == [1, 1.5, -1, 0.5]
    assert axes.get_title(loc="left") == "Logit of “␣$x” (25 %): 2.00 above the mean"
    assert len({bars[i].get_facecolor() for i in range(3)}) == 3
    assert bars[0].get_facecolor() == bars[3].get_facecolor()
    low, high = axes.get_ylim()
    assert low < 0
    assert high > 2.5
    assert picture.table().rows[2] == ["block 0 MLP", -0.5, -1.0]
    assert "the largest part, 1.50, is from block 0 attention" in picture.description()
