import json

import numpy as np
import pytest
import torch

from gpt2.config import GPT2Config
from gpt2.errors import InputError
from gpt2.files.pretrained import GPT2
from gpt2.model.quantized import quantize_network
from gpt2.visual.pictures.weights import WeightsImage, weights_window
from gpt2.visual.pictures.weights_line import WeightsLine


def _image(model: GPT2, *args: object, **kwargs: object) -> WeightsImage:
    picture = weights_window(model, *args, **kwargs)  # type: ignore[arg-type]
    assert isinstance(picture, WeightsImage)
    return picture


def _line(model: GPT2, *args: object, **kwargs: object) -> WeightsLine:
    picture = weights_window(model, *args, **kwargs)  # type: ignore[arg-type]
    assert isinstance(picture, WeightsLine)
    return picture


@pytest.fixture
def wide_model() -> GPT2:
    """A model with more than 300 inputs of its first attention."""
    return GPT2(GPT2Config(vocab_size=700, n_positions=8, n_embd=320, n_layer=1, n_head=4))


def test_the_first_300_inputs_and_outputs_of_c_attn_are_drawn(wide_model: GPT2) -> None:
    picture = _image(wide_model)
    weight = wide_model.block(0).attn.c_attn.weight.detach()  # (outputs, inputs)
    assert np.array_equal(picture.values, weight[:300, :300].T)
    assert (picture.shape, picture.rows, picture.columns) == ((320, 960), (0, 300), (0, 300))
    assert picture.cell == (1, 1)


def test_lighter_is_higher_and_gray_is_zero(model: GPT2) -> None:
    picture = _image(model)
    image = picture.figure().axes[0].images[0]
    assert np.array_equal(image.get_array(), picture.values)  # type: ignore[arg-type]
    assert image.get_clim() == (-picture.limit, picture.limit)
    assert 0 < picture.limit < np.abs(picture.values).max()
    darkest, middle, lightest = (float(np.mean(image.cmap(x)[:3])) for x in (0.0, 0.5, 1.0))
    assert (darkest, lightest) == (0.0, 1.0)
    assert middle == pytest.approx(0.5, abs=0.01)


def test_a_window_is_drawn_with_its_own_numbers_on_the_axes(model: GPT2) -> None:
    picture = _image(model, "h.1.mlp.c_fc", rows=(5, 9), columns=(70, None))
    weight = model.block(1).mlp.c_fc.weight.detach()
    assert np.array_equal(picture.values, weight[70:, 5:9].T)
    axes = picture.figure().axes[0]
    assert axes.images[0].get_extent() == [69.5, 79.5, 8.5, 4.5]
    assert axes.get_title(loc="left") == "h.1.mlp.c_fc.weight"
    assert axes.get_ylabel() == "input channel, of 20"


def test_cells_are_square_unless_they_would_be_too_small_to_see(model: GPT2) -> None:
    for tensor, height_over_width in (("wpe", 24 / 20), ("wte", 5 / 0.8)):
        axes = _image(model, tensor).figure().axes[0]
        left, right, bottom, top = axes.images[0].get_extent()
        shape = float(axes.get_aspect()) * (bottom - top) / (right - left)
        assert shape == pytest.approx(height_over_width)


def test_the_parts_of_c_attn_are_named_where_they_are_seen(wide_model: GPT2) -> None:
    def names(columns: tuple[int | None, int | None] | None) -> list[str]:
        axes = _image(wide_model, columns=columns).figure().axes[0]
        return [text.get_text() for text in axes.texts]

    assert names(None) == ["queries"]
    assert names((None, None)) == ["queries", "keys", "values"]
    assert names((300, 700)) == ["keys", "values"]  # of the queries 20 columns: too few
    assert [text.get_text() for text in _image(wide_model, "wte").figure().axes[0].texts] == []


def test_a_head_is_its_queries_keys_and_values(model: GPT2) -> None:
    picture = _image(model, "h.2.attn.c_attn", head=3)
    weight = model.block(2).attn.c_attn.weight.detach()
    queries, keys, values = weight.split(20)
    expected = torch.cat([part[15:20] for part in (queries, keys, values)]).T
    assert np.array_equal(picture.values, expected)
    assert picture.shape == (20, 15)
    assert [part[1:] for part in picture.parts] == [(0, 5), (5, 10), (10, 15)]


def test_a_large_tensor_is_drawn_in_means(wide_model: GPT2) -> None:
    picture = _image(wide_model, "wte", rows=(None, None), columns=(None, None))
    assert picture.cell == (2, 2)
    assert picture.values.shape == (350, 160)
    embeddings = wide_model.wte.weight
    assert picture.values[2, 3] == pytest.approx(embeddings[4:6, 6:8].mean().item(), abs=1e-7)
    assert "in means of 2 x 2" in picture.description()


def test_the_histogram_counts_all_weights_of_the_tensor(model: GPT2) -> None:
    picture = _image(model, rows=(0, 2), with_histogram=True)
    counted = picture.histogram
    assert counted is not None
    weight = model.block(0).attn.c_attn.weight.detach().numpy()
    assert counted.counts.sum() == weight.size == 1200
    low, high = counted.edges[10:12]
    assert counted.counts[10] == ((weight >= low) & (weight < high)).sum()
    assert (counted.mean, counted.deviation) == pytest.approx((weight.mean(), weight.std()))


def test_singular_values_are_those_of_the_whole_matrix(model: GPT2) -> None:
    for tensor in ("h.0.attn.c_attn", "wte"):
        picture = _image(model, tensor, rows=(0, 2), with_singular_values=True)
        weight = model.get_submodule(tensor).weight
        assert isinstance(weight, torch.Tensor)
        expected = torch.linalg.svdvals(weight.detach().double())
        assert picture.singular_values == pytest.approx(expected.numpy(), rel=1e-6)
        drawn = picture.figure().subfigs[1].axes[0].lines[0]
        assert np.array_equal(drawn.get_ydata(), picture.singular_values)  # type: ignore[arg-type]


def test_the_numbers_are_strict_json(model: GPT2) -> None:
    picture = _image(model, with_histogram=True, with_singular_values=True)
    numbers = json.loads(json.dumps(picture.to_json(), allow_nan=False))
    assert numbers["values"] == picture.values.tolist()
    assert numbers["limit"] == picture.limit
    assert sum(numbers["histogram"]["counts"]) == 1200
    assert len(numbers["singular_values"]) == 20


def test_weights_that_are_not_finite_stand_out(model: GPT2) -> None:
    with torch.no_grad():
        model.block(0).attn.c_attn.weight[5, 3] = torch.nan
        model.block(0).attn.c_attn.weight[7] = torch.inf
    picture = _image(model, with_histogram=True, with_singular_values=True)
    assert np.isfinite(picture.limit)
    assert picture.histogram is not None
    assert picture.histogram.counts.sum() == 1200 - 21
    assert picture.to_json()["values"][3][5] is None
    assert picture.table().rows[3][6] is None
    image = picture.figure().subfigs[0].axes[0].images[0]
    pixels = image.to_rgba(image.get_array())  # type: ignore[arg-type]
    assert pixels[3, 5, 0] != pixels[3, 5, 2]  # a color among grays


def test_weights_that_are_all_zero_are_drawn(model: GPT2) -> None:
    torch.nn.init.zeros_(model.wpe.weight)
    picture = _image(model, "wpe", with_histogram=True)
    assert picture.limit == 1.0
    picture.figure()


@pytest.mark.parametrize("bits", [8, 4])
def test_a_quantized_model_is_drawn_as_its_float_weights(model: GPT2, bits: int) -> None:
    exact = _image(model, head=1).values
    quantize_network(model, bits)  # type: ignore[arg-type]
    values = _image(model, head=1).values
    assert not np.array_equal(values, exact)
    assert values == pytest.approx(exact, abs=0.15 * float(np.abs(exact).max()))


def test_a_vector_is_a_line(model: GPT2) -> None:
    with torch.no_grad():
        model.block(1).ln_1.weight[4] = 2.5
    picture = _line(model, "h.1.ln_1.weight", rows=(4, 8), with_histogram=True)
    weights = model.block(1).ln_1.weight.detach().numpy()
    assert np.array_equal(picture.values, weights[4:8])
    line, counts = picture.figure().axes
    assert np.array_equal(line.lines[0].get_xdata(), [4, 5, 6, 7])
    assert np.array_equal(line.lines[0].get_ydata(), weights[4:8])
    assert counts.get_title(loc="left") == "Histogram of 20 weights"
    assert picture.table().rows[0] == [4, 2.5]
    assert "those from 4 to 7, from" in picture.description()
    json.dumps(picture.to_json(), allow_nan=False)


def test_the_table_has_the_corner_of_the_window(model: GPT2) -> None:
    picture = _image(model, "wpe", rows=(3, 24))
    table = picture.table()
    assert table.columns[:3] == ["row", "0", "1"]
    assert table.rows[0][:2] == ["3", pytest.approx(model.wpe.weight[3, 0].item(), abs=1e-4)]
    assert len(table.rows) == 12


@pytest.mark.parametrize(
    ("tensor", "flags", "message"),
    [
        ("h.3.attn.c_attn", {}, "no tensor 'h.3.attn.c_attn'; near it"),
        ("wpe", {"rows": (0, 25)}, "rows must be .* since wpe.weight is 24 x 20, got 0:25"),
        ("wpe", {"columns": (4, 4)}, "columns must be .* <= 20, since .*, got 4:4"),
        ("ln_f.bias", {"columns": (0, 1)}, "need a matrix, got ln_f.bias, a vector"),
        ("ln_f.bias", {"with_singular_values": True}, "need a matrix, got ln_f.bias, a vector"),
        ("ln_f.bias", {"rows": (0, 21)}, "since ln_f.bias is 20, got 0:21"),
        ("ln_f.bias", {"head": 0}, "a head is part of attn.c_attn.weight, .* got ln_f.bias"),
        ("h.0.attn.c_proj", {"head": 0}, "a head is part of attn.c_attn.weight"),
        ("h.0.attn.c_attn", {"head": 4}, "head must be 0 to 3 in this model, got 4"),
        ("h.0.attn.c_attn", {"head": -1}, "head must be 0 to 3 in this model, got -1"),
        ("h.0.attn.c_attn", {"head": 1, "columns": (0, 16)}, "since head 1 of .* is 20 x 15"),
    ],
    ids=str,
)
def test_what_is_not_there_is_refused(
    model: GPT2, tensor: str, flags: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        weights_window(model, tensor, **flags)  # type: ignore[arg-type]
