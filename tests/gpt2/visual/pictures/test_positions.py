import json

import numpy as np
import pytest
import torch

from gpt2.errors import InputError
from gpt2.files.pretrained import GPT2
from gpt2.visual.images import image_bytes
from gpt2.visual.pictures.positions import position_curves


def test_a_line_holds_the_embeddings_of_its_channel(model: GPT2) -> None:
    picture = position_curves(model, [3, 17])
    axes = picture.figure().axes[0]
    embeddings = model.wpe.weight.detach().numpy()
    for line, channel in zip(axes.lines, (3, 17), strict=True):
        assert np.array_equal(line.get_ydata(), embeddings[:, channel])
        assert np.array_equal(line.get_xdata(), range(24))
    assert [text.get_text() for text in axes.texts] == ["channel 3", "channel 17"]
    assert axes.get_legend() is None  # it would cover the lines


def test_four_channels_are_chosen_by_the_seed(model: GPT2) -> None:
    chosen = position_curves(model, seed=1).channels
    assert len(set(chosen)) == 4
    assert position_curves(model, seed=1).channels == chosen
    assert position_curves(model, seed=2).channels != chosen


def test_lines_differ_in_color_and_in_dashes(model: GPT2) -> None:
    lines = position_curves(model, list(range(7))).figure().axes[0].lines
    assert len({line.get_color() for line in lines}) == 7
    assert len({str(line._dash_pattern) for line in lines}) == 7  # type: ignore[attr-defined]


def test_the_numbers_and_the_table_are_those_of_the_model(model: GPT2) -> None:
    picture = position_curves(model, [5])
    numbers = json.loads(json.dumps(picture.to_json(), allow_nan=False))
    assert numbers["channels"] == [5]
    assert numbers["values"] == [model.wpe.weight[:, 5].tolist()]
    table = picture.table()
    assert table.columns == ["position", "channel 5"]
    assert table.rows[2] == [2, pytest.approx(model.wpe.weight[2, 5].item(), abs=1e-4)]
    assert picture.description() == "Values of channels 5 at positions 0 to 23."


def test_channels_that_are_not_finite_are_drawn_as_far_as_they_are(model: GPT2) -> None:
    with torch.no_grad():
        model.wpe.weight[7:, 3] = torch.nan
    picture = position_curves(model, [3, 4])
    assert picture.table().rows[7][1] is None
    image_bytes(picture.figure(), "png")


def test_a_table_of_many_positions_has_some(model: GPT2) -> None:
    model.wpe = torch.nn.Embedding(1024, 20)
    positions = [row[0] for row in position_curves(model, [0]).table().rows]
    assert len(positions) == 33
    assert (positions[0], positions[-1]) == (0, 1023)


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ([20], r"channels must be 0 to 19 in this model, got \[20\]"),
        ([-1, 3], r"channels must be 0 to 19 in this model, got \[-1\]"),
        ([], "channels must be 1 to 7 numbers, got 0"),
        (list(range(8)), "channels must be 1 to 7 numbers, got 8"),
        ([2, 2], r"channels must differ from each other, got \[2, 2\]"),
    ],
    ids=str,
)
def test_channels_that_cannot_be_drawn_are_refused(
    model: GPT2, channels: list[int], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        position_curves(model, channels)
