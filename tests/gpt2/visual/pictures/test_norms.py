import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from gpt2.files.pretrained import GPT2
from gpt2.visual.capture import Recording, record
from gpt2.visual.images import image_bytes
from gpt2.visual.pictures.norms import stream_norms

IDS = [5, 80, 290, 17, 17]


def test_norms_are_those_computed_by_hand(model: GPT2) -> None:
    recording = _of_two_tokens(record(model, IDS[:2]))
    picture = stream_norms(recording)
    assert picture.first.tolist() == [5.0, 5.0, 10.0]
    assert picture.others.tolist() == [[1.0], [2.0], [4.0]]


def test_norms_are_those_of_transformers_hidden_states(model: GPT2, tmp_path: object) -> None:
    import transformers

    model.save_pretrained(str(tmp_path))
    peer = transformers.GPT2LMHeadModel.from_pretrained(str(tmp_path))
    with torch.no_grad():
        states = peer(torch.tensor([IDS]), output_hidden_states=True).hidden_states
    picture = stream_norms(record(model, IDS))
    for block, state in enumerate(states[:-1]):  # the last one is normalized
        lengths = state[0].norm(dim=-1).numpy()
        assert picture.first[2 * block] == pytest.approx(lengths[0], rel=1e-5)
        assert picture.others[2 * block] == pytest.approx(lengths[1:], rel=1e-5)


def test_the_lines_are_the_mean_and_the_first_token(model: GPT2) -> None:
    picture = stream_norms(record(model, IDS))
    axes = picture.figure().axes[0]
    mean, first = axes.lines
    assert np.array_equal(mean.get_xdata(), np.arange(7) / 2)
    assert np.array_equal(mean.get_ydata(), picture.others.mean(axis=1))
    assert np.array_equal(first.get_ydata(), picture.first)
    assert [text.get_text() for text in axes.texts] == ["mean of the others", "first token"]
    edge = axes.collections[0].get_paths()[0].vertices
    assert edge[:, 1].max() == pytest.approx(picture.others.max())
    assert axes.get_yscale() == "log"


def test_the_axis_has_plain_numbers(model: GPT2) -> None:
    figure = stream_norms(record(model, IDS)).figure()
    figure.draw_without_rendering()
    texts = [text.get_text() for text in figure.axes[0].get_yticklabels(which="both")]
    shown = [text for text in texts if text]
    assert shown
    assert all(float(text.replace(",", "")) > 0 for text in shown)


def test_one_token_has_no_others(model: GPT2) -> None:
    picture = stream_norms(record(model, [7]))
    axes = picture.figure().axes[0]
    assert [text.get_text() for text in axes.texts] == ["first token"]
    assert picture.table().columns == ["blocks passed", "first token"]
    assert "others" not in picture.description()


def test_a_stream_that_is_not_finite_is_drawn_as_far_as_it_is(model: GPT2) -> None:
    with torch.no_grad():
        model.block(1).mlp.c_fc.weight[0, 0] = torch.nan
    picture = stream_norms(record(model, IDS))
    assert np.isfinite(picture.first[:4]).all()
    assert picture.to_json()["first"][4:] == [None] * 3
    image_bytes(picture.figure(), "png")


def test_the_table_has_a_row_a_block(model: GPT2) -> None:
    picture = stream_norms(record(model, IDS))
    rows = picture.table().rows
    assert [row[0] for row in rows] == [0, 1, 2, 3]
    others = picture.others[2]
    expected = [1, picture.first[2], others.mean(), others.min(), others.max()]
    assert rows[1] == pytest.approx(expected, abs=1e-4)
    json.dumps(picture.to_json(), allow_nan=False)


def _of_two_tokens(recording: Recording) -> Recording:
    """Return a recording of one block, whose attention and MLP add plain vectors."""
    embeddings = torch.tensor([[3.0, 4.0], [1.0, 0.0]])
    attention = torch.tensor([[[0.0, 0.0], [1.0, 0.0]]])
    mlp = torch.tensor([[[3.0, 4.0], [2.0, 0.0]]])
    return replace(recording, embeddings=embeddings, attention=attention, mlp=mlp)


def test_a_stream_that_is_nowhere_above_0_is_drawn(model: GPT2) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    (axes,) = stream_norms(record(model, IDS)).figure().axes
    assert axes.get_yscale() == "linear"
