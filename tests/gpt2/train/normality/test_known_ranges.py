"""The bounds of a figure, from runs of several lengths and seeds."""

from typing import Any

import pytest

from gpt2.train.normality.known_ranges import (
    HELD_OUT,
    HELLASWAG,
    TRAINING,
    Range,
    demo_ranges,
    known_ranges,
)


def run(steps: int, *losses: float) -> dict[str, Any]:
    """Return a run with evaluations at equal distances, the training loss a nat lower."""
    every = steps // len(losses)
    rows = [[every * (k + 1), loss, loss - 1] for k, loss in enumerate(losses)]
    return {"steps": steps, "evaluations": rows}


@pytest.mark.parametrize(
    ("value", "place"),
    [(2.9, "below"), (3.0, "within"), (3.5, "within"), (4.0, "within"), (4.1, "above")],
)
def test_both_bounds_belong_to_a_range(value: float, place: str) -> None:
    assert Range(3.0, 4.0).place(value) == place


def test_a_band_is_four_standard_deviations_of_the_seeds_to_both_sides() -> None:
    # 3.9, 4.0 and 4.1 have a standard deviation of 0.1.
    runs = [run(100, 5.0, loss) for loss in (3.9, 4.0, 4.1)]
    found = demo_ranges(runs, steps=100, step=100)[HELD_OUT]
    assert (found.low, found.high) == pytest.approx((3.6, 4.4))


def test_a_band_is_at_least_a_share_of_the_mean_wide() -> None:
    found = demo_ranges([run(100, 5.0, 4.0), run(100, 5.0, 4.0)], steps=100, step=100)
    assert (found[HELD_OUT].low, found[HELD_OUT].high) == pytest.approx((3.94, 4.06))
    assert (found[TRAINING].low, found[TRAINING].high) == pytest.approx((2.955, 3.045))


def test_a_step_between_two_evaluations_is_interpolated() -> None:
    found = demo_ranges([run(100, 6.0, 4.0)], steps=100, step=75)[HELD_OUT]
    assert (found.low + found.high) / 2 == pytest.approx(5.0)


def test_a_length_between_two_others_is_interpolated_at_the_same_share_of_the_steps() -> None:
    runs = [run(100, 6.0, 5.0), run(196, 4.0, 3.0)]  # 140 is halfway on a logarithmic scale
    for step, expected in ((140, 4.0), (70, 5.0)):
        found = demo_ranges(runs, steps=140, step=step)[HELD_OUT]
        assert (found.low + found.high) / 2 == pytest.approx(expected)


@pytest.mark.parametrize(("steps", "step"), [(99, 99), (201, 201), (140, 69), (100, 49)])
def test_nothing_is_known_outside_of_the_lengths_and_before_the_first_evaluation(
    steps: int, step: int
) -> None:
    assert demo_ranges([run(100, 6.0, 5.0), run(200, 4.0, 3.0)], steps, step) == {}
    assert demo_ranges([], steps, step) == {}


def test_nothing_is_known_between_two_lengths_that_are_far_apart() -> None:
    runs = [run(100, 6.0, 5.0), run(400, 4.0, 3.0)]
    assert demo_ranges(runs, steps=200, step=200) == {}
    assert demo_ranges(runs, steps=400, step=400) != {}


def test_the_published_figures_are_those_of_the_last_step() -> None:
    found = known_ranges("gpt2-124m-fineweb-edu", steps=19073, step=19073)
    assert found[HELD_OUT].place(3.03) == found[HELD_OUT].place(3.09) == "within"
    assert found[HELLASWAG].place(0.303) == "within"
    assert found[HELD_OUT].place(2.95) == "below"  # more than 1.5 % beyond what is published
    assert known_ranges("gpt2-124m-fineweb-edu", steps=19073, step=19000) == {}
    assert known_ranges("gpt2-774m-fineweb-edu", steps=19073, step=19073) == {}
