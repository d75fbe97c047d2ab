"""The losses of a run, by hand."""

import numpy as np
import pytest

from gpt2.visual.losses import MOST_POINTS, losses_of, smoothed

STEP = {"tokens": 100, "training_seconds": 1800.0}


def test_losses_come_with_tokens_and_hours_and_what_is_not_finite_is_left_out() -> None:
    losses = losses_of(
        [
            {"step": 1, "loss": 4.0, "tokens": 100, "training_seconds": 1800.0},
            {"step": 2, "loss": None, "skipped": True, "tokens": 200, "training_seconds": 3600.0},
            {"step": 2, "val_loss": 3.5},
            {"step": 3, "loss": 3.0, "tokens": 300, "training_seconds": 5400.0},
            {"step": 3, "val_loss": None},
            {"step": 3, "changed": {}},
        ]
    )
    assert (losses.steps.tolist(), losses.loss.tolist()) == ([1, 3], [4.0, 3.0])
    assert (losses.val_steps.tolist(), losses.val_loss.tolist()) == ([2], [3.5])
    assert losses.at(losses.steps, "tokens").tolist() == [100, 300]
    assert losses.at(losses.val_steps, "hours").tolist() == [1.0]
    assert losses.at(losses.val_steps, "steps").tolist() == [2.0]


def test_what_a_run_has_not_recorded_is_not_known() -> None:
    losses = losses_of([{"step": 1, "loss": 4.0}, {"step": 9, "val_loss": 3.0}])
    assert np.isnan(losses.at(losses.steps, "tokens")).all()
    assert np.isnan(losses.at(losses.val_steps, "hours")).all()
    nothing = losses_of([{"step": 9, "val_loss": 3.0}])
    assert np.isnan(nothing.at(nothing.val_steps, "tokens")).all()
    assert len(losses_of([]).steps) == 0


def test_many_steps_become_means_of_several() -> None:
    count = 2 * MOST_POINTS + 1  # two means of three would be one too many of two
    losses = losses_of([{"step": i, "loss": float(i)} for i in range(1, count + 1)])
    assert losses.loss[:2].tolist() == [2.0, 5.0]
    assert losses.steps[:2].tolist() == [3, 6]
    assert losses.steps[-1] == count
    assert len(losses.loss) <= MOST_POINTS
    assert np.all(np.diff(losses.smooth) > 0)
    total = sum(
        loss * n for loss, n in zip(losses.loss, np.diff(losses.steps, prepend=0), strict=True)
    )
    assert total == pytest.approx(count * (count + 1) / 2)


def test_the_smooth_line_begins_where_the_loss_does_and_has_its_mean() -> None:
    values = np.random.default_rng(0).normal(size=500)
    smooth = smoothed(values)
    assert smooth[0] == values[0]
    assert smooth[100] == pytest.approx(values[95:106].mean())
    assert smooth[-1] == pytest.approx(values[-6:].mean())
