from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from gpt2.errors import InputError
from gpt2.files.pretrained import GPT2
from gpt2.visual.capture import record
from gpt2.visual.pictures.attention import AttentionMaps, attention_maps

IDS = [5, 80, 290, 17, 17]


def maps(weights: list[list[float]], tokens_a_cell: int = 1, tokens: int = 0) -> AttentionMaps:
    """Return the picture of one head."""
    return AttentionMaps(
        tokens=["a"] * (tokens or len(weights)),
        blocks=[0],
        heads=[0],
        weights=np.array([[weights]]),
        patterns=np.array([[[0.1, 0.2, 0.7]]]),
        tokens_a_cell=tokens_a_cell,
    )


def images(figure: Figure) -> list[AxesImage]:
    """Return the images of a figure, without the scales of the colors."""
    return [image for axes in figure.axes for image in axes.images]


def test_maps_are_what_transformers_computes_and_the_future_is_blank(
    model: GPT2, tmp_path: Path
) -> None:
    import transformers

    model.save_pretrained(tmp_path)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path, attn_implementation="eager")
    with torch.no_grad():
        expected = theirs(torch.tensor([IDS]), output_attentions=True).attentions
    picture = attention_maps(model, record(model, IDS))
    past = np.tri(5, dtype=bool)
    assert picture.weights.shape == (3, 4, 5, 5)
    assert np.isnan(picture.weights[:, :, ~past]).all()
    np.testing.assert_allclose(
        picture.weights[:, :, past], torch.cat(expected).numpy()[:, :, past], rtol=1e-4, atol=1e-6
    )


def test_one_block_and_one_head_can_be_chosen(model: GPT2) -> None:
    recording = record(model, IDS)
    whole = attention_maps(model, recording).weights
    for block, head, chosen in (
        (1, None, whole[1:2]),
        (None, 2, whole[:, 2:3]),
        (2, 3, whole[2:, 3:]),
    ):
        picture = attention_maps(model, recording, block, head)
        np.testing.assert_array_equal(picture.weights, chosen)


def test_tokens_of_a_long_text_share_cells(model: GPT2, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = record(model, IDS)
    whole = np.nan_to_num(attention_maps(model, recording, 0, 1).weights[0, 0])
    monkeypatch.setattr("gpt2.visual.pictures.attention.MOST_CELLS", {1: 3})
    picture = attention_maps(model, recording, 0, 1)
    assert picture.tokens_a_cell == 2
    binned = picture.weights[0, 0]
    # The sum over the columns of a cell, averaged over its rows; the last row has one token.
    np.testing.assert_allclose(binned[1, 0], whole[2:4, 0:2].sum() / 2, rtol=1e-5)
    np.testing.assert_allclose(binned[2, 1], whole[4, 2:4].sum(), rtol=1e-5)
    np.testing.assert_allclose(np.nansum(binned, axis=1), 1, rtol=1e-5)
    assert np.isnan(binned[0, 1:]).all()


def test_the_drawn_map_is_the_weights_with_a_label_a_token() -> None:
    picture = maps([[1, np.nan], [0.25, 0.75]])
    (image,) = images(picture.figure())
    drawn = image.get_array()
    assert drawn is not None
    np.testing.assert_array_equal(drawn.filled(9), [[1, 9], [0.25, 0.75]])
    assert image.get_clim() == (0, 1)
    labels = [label.get_text() for label in image.axes.get_yticklabels()]
    assert labels == ["a", "a"]


def test_many_tokens_are_numbered() -> None:
    side = 70
    (image,) = images(maps(np.eye(side).tolist(), tokens_a_cell=2, tokens=139).figure())
    assert image.axes.get_xlim() == (-0.5, 138.5)
    assert image.axes.get_ylim() == (138.5, -0.5)  # the first token on top
    assert len(image.axes.get_xticks()) < 20


def test_heads_of_a_block_share_one_scale_of_colors(model: GPT2) -> None:
    figure = attention_maps(model, record(model, IDS), 1).figure()
    assert [axes.get_title(loc="left") for axes in figure.axes[:4]] == [
        "head 0",
        "head 1",
        "head 2",
        "head 3",
    ]
    assert {image.get_clim() for image in images(figure)} == {(0, 1)}
    assert len(figure.axes) == 5  # four maps and one scale


def test_all_heads_are_one_image_with_gaps(model: GPT2) -> None:
    picture = attention_maps(model, record(model, IDS))
    (image,) = images(picture.figure())
    mosaic = image.get_array()
    assert mosaic is not None
    assert mosaic.shape == (3 * 6 - 1, 4 * 6 - 1)
    np.testing.assert_array_equal(mosaic[12:17, 18:23].filled(np.nan), picture.weights[2, 3])
    assert mosaic.mask[5].all()
    assert [label.get_text() for label in image.axes.get_yticklabels()] == ["0", "1", "2"]
    assert [label.get_text() for label in image.axes.get_xticklabels()] == ["0", "1", "2", "3"]


def test_the_table_has_where_each_head_looks_on_average(model: GPT2) -> None:
    recording = record(model, IDS)
    weights = recording.weights(2)[3]
    row = attention_maps(model, recording, 2, 3).table().rows[0]
    later = range(1, 5)
    assert row[:2] == [2, 3]
    assert row[2] == pytest.approx(np.mean([weights[i, i].item() for i in later]), abs=1e-3)
    assert row[3] == pytest.approx(np.mean([weights[i, i - 1].item() for i in later]), abs=1e-3)
    assert row[4] == pytest.approx(np.mean([weights[i, 0].item() for i in later]), abs=1e-3)


def test_of_one_token_there_is_one_weight(model: GPT2) -> None:
    picture = attention_maps(model, record(model, [7]), 0, 0)
    assert picture.weights.tolist() == [[[[1.0]]]]
    assert picture.table().rows == [[0, 0, None, None, None]]
    assert "over 1 token" in picture.description()


@pytest.mark.parametrize(("block", "head"), [(3, 0), (-1, 0), (0, 4), (0, -1)])
def test_a_block_or_head_that_is_not_there_is_refused(model: GPT2, block: int, head: int) -> None:
    wanted = "block must be 0 to 2" if block else "head must be 0 to 3"
    with pytest.raises(InputError, match=f"{wanted} in this model, got"):
        attention_maps(model, record(model, IDS), block, head)
