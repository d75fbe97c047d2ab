"""Loss curves: what is drawn is what the metrics have."""

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.text import Text

from gpt2.errors import InputError
from gpt2.visual.images import image_bytes
from gpt2.visual.pictures.loss import LossCurves, loss_curves

ROWS: list[dict[str, Any]] = [
    {"step": i, "loss": 8.0 - i, "tokens": 10**6 * i, "training_seconds": 36.0 * i}
    for i in range(1, 5)
] + [{"step": 2, "val_loss": 6.5}, {"step": 4, "val_loss": 4.5}]


def axes_of(picture: LossCurves) -> Axes:
    figure = picture.figure()
    figure.draw_without_rendering()
    return figure.axes[0]


def lines(axes: Axes) -> list[list[list[float]]]:
    return [np.asarray(line.get_data(), dtype=float).tolist() for line in axes.lines]


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_a_run_has_a_line_of_training_and_one_held_out() -> None:
    axes = axes_of(loss_curves({"demo": ROWS}))
    training, held_out, single_steps = lines(axes)
    assert training == single_steps == [[1, 2, 3, 4], [7, 6, 5, 4]]
    assert held_out == [[2, 4], [6.5, 4.5]]
    assert texts(axes) == ["training", "held out"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", "loss, in nats a token")


def test_single_steps_are_lighter_than_their_mean() -> None:
    mean, _, single = axes_of(loss_curves({"demo": ROWS})).lines
    assert (single.get_alpha() or 1) < (mean.get_alpha() or 1)
    assert single.get_linewidth() < mean.get_linewidth()


def test_the_same_losses_are_drawn_over_tokens_and_hours() -> None:
    by_tokens = axes_of(loss_curves({"demo": ROWS}, "tokens"))
    assert lines(by_tokens)[1][0] == [2e6, 4e6]
    assert by_tokens.get_xlabel() == "millions of tokens read"
    assert "4" in [label.get_text() for label in by_tokens.get_xticklabels()]
    by_hours = axes_of(loss_curves({"demo": ROWS}, "hours"))
    assert lines(by_hours)[0][0] == pytest.approx([0.01, 0.02, 0.03, 0.04])
    assert by_hours.get_xlabel().startswith("hours")


def test_several_runs_are_named_at_their_ends_and_told_apart_without_color() -> None:
    other = [row | {"loss": 9.0} if "loss" in row else row | {"val_loss": 9.0} for row in ROWS]
    axes = axes_of(loss_curves({"one": ROWS, "other": other, "new": ROWS[:2]}))
    assert texts(axes) == ["one", "other", "new"]
    named = axes.lines[:3]
    assert len({line.get_color() for line in named}) == 3
    assert len({str(line.get_linestyle()) for line in named}) == 3
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["training", "held out"]


def test_labels_and_legend_cover_no_data() -> None:
    picture = loss_curves(
        {"one": ROWS, "two": ROWS}, references={"unigram": 5.5}, bands={"one": [(2, 6, 7)]}
    )
    axes = axes_of(picture)
    room = axes.get_window_extent()
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # without the lines to them
    assert all(box.x0 >= room.x1 for box in boxes)
    for one, other in pairwise(boxes):
        assert not one.overlaps(other)
    legend = axes.get_legend()
    assert legend is not None
    assert legend.get_window_extent().y0 >= room.y1 - 1


def test_references_are_lines_over_the_whole_width_with_name_and_number() -> None:
    axes = axes_of(loss_curves({"demo": ROWS}, references={"unigram": 5.5, "GPT-2": 3.25}))
    assert texts(axes)[2:] == ["unigram 5.50", "GPT-2 3.25"]
    assert [line[1] for line in lines(axes)[2:4]] == [[5.5, 5.5], [3.25, 3.25]]
    low, high = axes.get_ylim()
    assert low < 3.25 < 7 < high


def test_the_band_of_like_runs_is_shaded_at_its_steps() -> None:
    plain = axes_of(loss_curves({"demo": ROWS}, "tokens"))
    axes = axes_of(loss_curves({"demo": ROWS}, "tokens", bands={"demo": [(2, 6, 7), (4, 4, 5)]}))
    assert len(plain.collections) == 0
    [shade] = axes.collections
    corners = {tuple(point) for point in shade.get_paths()[0].vertices.tolist()}  # type: ignore[union-attr]
    assert {(2e6, 6.0), (2e6, 7.0), (4e6, 4.0), (4e6, 5.0)} <= corners


def test_an_outlier_of_one_step_does_not_squash_the_rest() -> None:
    many = [{"step": i, "loss": 3.0 + (i == 500) * 1e6} for i in range(1, 1001)]
    many += [{"step": 1000, "val_loss": 3.5}]
    assert loss_curves({"demo": many}).runs[0].smooth.max() > 1e4  # its mean is drawn
    flat = [{"step": i, "loss": 3.0 + (i == 1) * 99} for i in range(1, 1001)]
    assert axes_of(loss_curves({"demo": flat})).get_ylim()[1] > 100  # the beginning is drawn


def test_an_outlier_of_one_step_is_outside_and_its_mean_is_not() -> None:
    rows = [{"step": i, "loss": 3.0 + 90.0 * (i == 500)} for i in range(1, 1001)]
    picture = loss_curves({"demo": rows})
    mean = float(picture.runs[0].smooth.max())
    assert mean == pytest.approx(3 + 90 / 21)
    assert mean < axes_of(picture).get_ylim()[1] < 10


def test_the_axis_may_be_logarithmic() -> None:
    axes = axes_of(loss_curves({"demo": ROWS}, logarithmic=True))
    assert axes.get_xscale() == "log"
    assert axes.get_xlim()[0] == 1


@pytest.mark.parametrize("rows", [[], [{"step": 1, "loss": None}], [{"step": 1, "loss": 2.0}]])
def test_a_run_of_few_rows_or_none_is_drawn(rows: list[dict[str, Any]]) -> None:
    for logarithmic in (False, True):
        picture = loss_curves({"demo": rows}, logarithmic=logarithmic)
        axes_of(picture)
        assert picture.description().startswith("demo: ")


def test_what_a_run_has_not_recorded_is_refused() -> None:
    with pytest.raises(InputError, match="old has no hours in its metrics; draw it over steps"):
        loss_curves({"demo": ROWS, "old": [{"step": 1, "loss": 2.0}]}, "hours")
    with pytest.raises(InputError, match="runs must be 1 to 7, got 8"):
        loss_curves({str(i): ROWS for i in range(8)})


def test_the_numbers_behind_are_those_of_the_run() -> None:
    picture = loss_curves({"demo": ROWS}, references={"unigram": 5.5})
    assert picture.table().rows == [["demo", 2, 6.0, 6.5], ["demo", 4, 4.0, 4.5]]
    assert picture.description() == (
        "demo: training loss 4.000 at step 4, held-out loss 4.500 at step 4, lowest 4.500 at step "
        "4."
    )
    numbers = json.loads(json.dumps(picture.to_json(), allow_nan=False))
    assert numbers["runs"][0]["val_loss"] == [6.5, 4.5]
    assert numbers["references"] == {"unigram": 5.5}


def test_steps_are_counted_in_whole_numbers() -> None:
    (axes,) = loss_curves({"demo": ROWS}).figure().axes
    assert all(tick == int(tick) for tick in axes.get_xticks())


def test_any_name_of_a_run_is_drawn_beside_the_lines() -> None:
    names = ["a\nb", "\udcff", "n" * 200]
    figure = loss_curves(dict.fromkeys(names, ROWS)).figure()
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert shown == ["a\\nb", "\\udcff", "…" + "n" * 35]
    image_bytes(figure, "png")
