"""One picture across a run: the numbers of its moments, on one scale."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from gpt2.errors import InputError
from gpt2.files.pretrained import GPT2
from gpt2.visual.moments import Moment, observe
from gpt2.visual.pictures.history import (
    History,
    attention_history,
    loss_history,
    positions_history,
    weights_history,
)


@pytest.fixture
def moments(model: GPT2) -> list[Moment]:
    """Ten moments of weights that grow."""
    found = []
    for step in range(10):
        found.append(observe(model, [5, 6, 7, 8], step=step, tokens=64 * step))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.1)
    return found


ROWS = [{"step": i, "loss": 6 - i / 10} for i in range(1, 41)] + [
    {"step": i, "val_loss": 6.5 - i / 10} for i in (20, 40)
]


@pytest.fixture
def histories(moments: list[Moment]) -> dict[str, History]:
    return {
        "positions": positions_history(moments),
        "weights": weights_history(moments),
        "attention": attention_history(moments, block=2, head=3),
        "loss": loss_history(ROWS),
    }


@pytest.mark.parametrize("kind", ["positions", "weights", "attention", "loss"])
def test_frames_are_evenly_chosen_and_have_their_steps_as_titles(
    kind: str, histories: dict[str, History]
) -> None:
    history = histories[kind]
    figure = history.figure()
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert len(titles) == 8
    assert titles[0] == f"step {history.steps[0]}"
    assert titles[-1] == f"step {history.steps[-1]}"
    figure.draw_without_rendering()


@pytest.mark.parametrize("kind", ["positions", "weights", "attention", "loss"])
def test_all_frames_have_one_scale(kind: str, histories: dict[str, History]) -> None:
    history = histories[kind]
    frames = [history.frame(number).axes[0] for number in range(len(history.steps))]
    assert len({axes.get_xlim() for axes in frames}) == 1
    assert len({axes.get_ylim() for axes in frames}) == 1
    assert len({image.get_clim() for axes in frames for image in axes.images}) <= 1
    assert frames[-1].get_title(loc="left").endswith(f"step {history.steps[-1]}")


def test_frames_hold_the_numbers_of_their_moments(
    moments: list[Moment], histories: dict[str, History]
) -> None:
    line = histories["positions"].frame(4).axes[0].lines[1]
    assert np.array_equal(line.get_ydata(), moments[4].positions[1])
    image = histories["weights"].frame(4).axes[0].images[0].get_array()
    assert np.array_equal(np.asarray(image), moments[4].weights.float())
    drawn = np.asarray(histories["attention"].frame(4).axes[0].images[0].get_array())
    expected = moments[4].attention[2, 3].float().numpy()
    assert np.array_equal(np.tril(drawn), np.tril(expected))
    shown = np.ma.getmaskarray(histories["attention"].frame(4).axes[0].images[0].get_array())
    assert np.array_equal(~shown, np.tri(4, dtype=bool))  # the future is blank


def test_the_loss_is_drawn_up_to_each_step(histories: dict[str, History]) -> None:
    history = histories["loss"]
    assert history.steps[-1] == 40
    number = next(i for i, step in enumerate(history.steps) if step >= 20)
    training, held_out = history.frame(number).axes[0].lines
    assert max(training.get_xdata()) == history.steps[number]
    assert list(held_out.get_xdata()) == [20]
    assert loss_history(ROWS[:1]).steps == [1]
    with pytest.raises(InputError, match="must have a step with a finite loss"):
        loss_history([{"step": 1, "loss": None}])


def test_heads_that_the_run_has_not_kept_are_refused(moments: list[Moment]) -> None:
    with pytest.raises(InputError, match="head must be one of .* 0, 1, 2, 3, got 4"):
        attention_history(moments, head=4)
    chosen = [replace(moment, blocks=[0, 5, 9]) for moment in moments]
    assert attention_history(chosen, block=9).values.shape == (10, 4, 4)
    with pytest.raises(InputError, match="block must be one of .* 0, 5, 9, got 2"):
        attention_history(chosen, block=2)
    first = attention_history(moments)
    assert (first.block, first.head) == (0, 0)


def test_moments_of_a_text_before_are_left_out(moments: list[Moment]) -> None:
    other = replace(moments[0], ids=[1, 2, 3], attention=moments[0].attention[..., :3, :3])
    assert attention_history([other, *moments]).steps == list(range(10))


def test_the_tables_say_how_much_changed(histories: dict[str, History]) -> None:
    for history in histories.values():
        table = history.table()
        assert [row[0] for row in table.rows] == history.steps
        assert all(len(row) == len(table.columns) for row in table.rows)
        json.dumps(history.to_json(), allow_nan=False)
    deviations = [row[1] for row in histories["positions"].table().rows]
    assert deviations == sorted(deviations, key=float)  # type: ignore[arg-type]
    assert histories["weights"].description() == "h.0.attn.c_attn.weight at 10 steps, from 0 to 9."


def test_a_moment_alone_or_of_one_token_is_drawn(model: GPT2) -> None:
    moment = observe(model, [5], step=0, tokens=0)
    for history in (positions_history([moment]), attention_history([moment])):
        assert len(history.figure().axes) == 1
        assert len(history.table().rows) == 1


def test_moments_that_are_not_finite_are_drawn_beside_the_others(moments: list[Moment]) -> None:
    ruined = replace(
        moments[-1],
        positions=torch.full_like(moments[-1].positions, torch.nan),
        weights=torch.full_like(moments[-1].weights, torch.nan),
        attention=torch.full_like(moments[-1].attention, torch.nan),
    )
    kept = [*moments[:-1], ruined]
    for history in (positions_history(kept), weights_history(kept), attention_history(kept)):
        history.figure().draw_without_rendering()
        assert history.table().rows[-1][1:] == [None] * (len(history.table().columns) - 1)
    grays = weights_history(kept).frame(0).axes[0].images[0].get_clim()
    assert grays == weights_history(moments[:-1]).frame(0).axes[0].images[0].get_clim()


def test_positions_and_weights_do_not_depend_on_the_text(moments: list[Moment]) -> None:
    changed = [moments[0], replace(moments[1], ids=[9, 9, 9, 9])]
    assert positions_history(changed).steps == weights_history(changed).steps == [0, 1]
    assert attention_history(changed).steps == [1]
