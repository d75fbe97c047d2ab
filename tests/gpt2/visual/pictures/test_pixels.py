"""Pictures as images: the pixels at places whose numbers are known."""

import io

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread

from gpt2.files.pretrained import GPT2
from gpt2.visual import style
from gpt2.visual.capture import record
from gpt2.visual.images import image_bytes
from gpt2.visual.pictures.attention import attention_maps
from gpt2.visual.pictures.positions import position_curves
from gpt2.visual.pictures.weights import weights_window

IDS = [5, 80, 290, 17, 17, 3]
ONE_STEP = 2 / 255  # of a color, as a PNG rounds it


def drawn(figure: Figure) -> np.ndarray:
    """Return the image of a figure, (height, width, red green blue), 0 to 1."""
    pixels: np.ndarray = imread(io.BytesIO(image_bytes(figure, "png")))
    return pixels[..., :3]


def at(pixels: np.ndarray, figure: Figure, axes: Axes, x: float, y: float) -> np.ndarray:
    """Return the color where a plot has the data (x, y)."""
    left, bottom = figure.transFigure.inverted().transform(axes.transData.transform((x, y)))
    height, width, _ = pixels.shape
    return pixels[int((1 - bottom) * height), int(left * width)]


def test_a_cell_of_an_attention_map_has_the_color_of_its_weight(model: GPT2) -> None:
    recording = record(model, IDS)
    picture = attention_maps(model, recording, 1, 2)
    figure = picture.figure()
    pixels = drawn(figure)
    [image] = figure.axes[0].images
    weights = recording.weights(1)[2].numpy()
    for row in range(6):
        for column in range(6):
            color = at(pixels, figure, figure.axes[0], column, row)
            expected = image.cmap(image.norm(weights[row, column]))[:3] if column <= row else 1.0
            np.testing.assert_allclose(color, expected, atol=ONE_STEP, rtol=0)
    zero = mpl.colormaps[style.ATTENTION](0.0)[:3]
    assert np.abs(np.subtract(zero, 1.0)).min() > 0.5  # no weight looks like the blank future


def test_weights_are_gray_and_lighter_where_they_are_higher(model: GPT2) -> None:
    picture = weights_window(model, rows=(0, 6), columns=(0, 9))
    figure = picture.figure()
    pixels = drawn(figure)
    weights = model.block(0).attn.c_attn.weight.detach().T[:6, :9].numpy()
    colors = np.array(
        [[at(pixels, figure, figure.axes[0], x, y) for x in range(9)] for y in range(6)]
    )
    assert (np.ptp(colors, axis=-1) <= ONE_STEP).all()  # gray
    ranked = colors[..., 0].ravel()[weights.ravel().argsort()]
    assert (np.diff(ranked) >= -ONE_STEP).all()
    assert ranked[-1] - ranked[0] > 0.8


def test_each_channel_is_a_line_of_its_own_color_through_its_values(model: GPT2) -> None:
    picture = position_curves(model, [3, 8])
    figure = picture.figure()
    pixels = drawn(figure)
    for line, values in enumerate(picture.values):
        color = mpl.colors.to_rgb(style.SERIES[line])
        found = [at(pixels, figure, figure.axes[0], x, y) for x, y in enumerate(values)]
        near = np.abs(np.array(found) - color).max(axis=1) < 0.3
        assert near.mean() > 0.6  # the rest are gaps of a dashed line, or lie below the other
