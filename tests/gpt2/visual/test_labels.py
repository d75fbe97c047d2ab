import numpy as np
import pytest
from matplotlib.figure import Figure

from gpt2.visual.labels import label_ends, label_points, place, spread
from gpt2.visual.style import styled


@pytest.mark.parametrize(
    ("values", "moved"),
    [
        ([], []),
        ([3.0], [3.0]),
        ([1.0, 2.0, 5.0], [1.0, 2.0, 5.0]),
        ([1.0, 1.0], [0.5, 1.5]),
        ([2.0, 0.0, 2.0, 2.0], [1.0, 0.0, 2.0, 3.0]),
    ],
    ids=str,
)
def test_values_move_apart_about_their_middle(values: list[float], moved: list[float]) -> None:
    assert spread(values, gap=1.0) == moved


def test_many_values_keep_their_order_and_the_gap() -> None:
    values = np.random.default_rng(0).random(50)
    moved = np.array(spread(list(values), gap=0.03))
    order = np.argsort(values)
    assert (np.diff(moved[order]) >= 0.03 - 1e-9).all()


def test_labels_lie_beside_points_that_are_alone() -> None:
    points = np.array([[100.0, 100.0], [300.0, 100.0]])
    sizes = np.array([[40.0, 10.0], [40.0, 10.0]])
    corners = place(points, sizes, np.array([[0.0, 0.0], [330.0, 200.0]]))
    assert corners[0] == pytest.approx([105.0, 95.0])  # at the right, in the middle of the height
    assert corners[1][0] + 40 <= 330  # no room at the right
    assert np.abs(corners[1] + [20, 5] - points[1]).max() < 30


def test_no_label_lies_on_another_or_on_a_point_or_outside() -> None:
    rng = np.random.default_rng(1)
    points = rng.normal(250, 60, (60, 2))
    sizes = np.stack([rng.uniform(15, 45, 60), np.full(60, 10.0)], axis=1)
    room = np.array([[0.0, 0.0], [500.0, 500.0]])
    corners = place(points, sizes, room)
    boxes = np.concatenate([corners, corners + sizes], axis=1)
    for i, box in enumerate(boxes):
        others = np.delete(boxes, i, axis=0)
        assert not ((box[:2] < others[:, 2:]) & (others[:, :2] < box[2:])).all(axis=1).any()
        assert not ((box[:2] < points) & (points < box[2:])).all(axis=1).any()
    assert (corners >= 0).all()
    assert (corners + sizes <= 500).all()


def test_labels_without_room_are_there_all_the_same() -> None:
    corners = place(np.zeros((3, 2)), np.full((3, 2), 50.0), np.array([[0.0, 0.0], [10.0, 10.0]]))
    assert np.isfinite(corners).all()


def test_texts_in_a_figure_do_not_overlap_at_another_resolution() -> None:
    points = np.random.default_rng(2).normal(size=(30, 2))
    with styled():
        figure = Figure(figsize=(5, 4))
        axes = figure.add_subplot()
        axes.scatter(points[:, 0], points[:, 1])
        label_points(axes, points, [f"label {i}" for i in range(30)])
        figure.set_dpi(200)
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in axes.texts]
    assert [text.get_text() for text in axes.texts] == [f"label {i}" for i in range(30)]
    for i, box in enumerate(boxes):
        smaller = box.expanded(0.97, 0.97)
        assert not any(smaller.overlaps(other) for other in boxes[:i])


def test_lines_are_labelled_at_the_height_of_their_ends() -> None:
    with styled():
        figure = Figure(figsize=(5, 4))
        axes = figure.add_subplot()
        for end in (0.0, 10.0, 4.0):
            axes.plot([0, 1], [5, end])
        label_ends(axes, ["low", "high", "between"])
        figure.draw_without_rendering()
        tops = [text.get_window_extent().y0 for text in axes.texts]
    assert tops[0] < tops[2] < tops[1]
    colors = [text.get_color() for text in axes.texts]
    assert colors == [line.get_color() for line in axes.lines]


def test_a_line_ends_where_it_is_last_finite() -> None:
    with styled():
        figure = Figure()
        axes = figure.add_subplot()
        axes.plot([0, 1, 2], [3.0, 4.0, np.nan])
        axes.plot([0, 1, 2], [np.nan] * 3)
        label_ends(axes, ["broken off", "never there"])
    assert [(text.get_text(), text.xy) for text in axes.texts] == [("broken off", (1.0, 4.0))]
