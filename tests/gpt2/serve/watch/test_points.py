"""Many steps become few points: means over a power of two of steps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2.serve.watch import points
from gpt2.serve.watch.points import Points, shown


def row(step: int, loss: float | None) -> dict[str, float | None]:
    return {"step": step, "loss": loss, "tokens": 10 * step, "training_seconds": 0.5 * step}


def test_few_steps_are_points_as_they_are() -> None:
    some = Points()
    some.add([{"step": 3, "loss": 2.5, "learning_rate": 0.01, "grad_norm": None, "tokens": 30}])
    assert some.to_rows() == [
        {
            "step": 3,
            "loss": 2.5,
            "learning_rate": 0.01,
            "grad_norm": None,
            "tokens_per_second": None,
            "mfu": None,
            "tokens": 30,
            "training_seconds": None,
        }
    ]


def test_of_more_steps_than_points_two_become_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "MOST_POINTS", 3)
    some = Points()
    some.add([row(1, 4.0), row(2, 2.0), row(3, 1.0), row(4, None)])
    found = [(r["step"], r["loss"], r["tokens"], r["training_seconds"]) for r in some.to_rows()]
    assert found == [(2, 3.0, 20, 1), (4, 1.0, 40, 2)]
    some.add([row(5, 7.0)])
    some.add([row(6, 8.0)])  # it joins the point of step 5
    assert [(r["step"], r["loss"]) for r in some.to_rows()] == [(2, 3.0), (4, 1.0), (6, 7.5)]


def test_a_point_without_a_finite_loss_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(points, "MOST_POINTS", 1)
    some = Points()
    some.add([row(1, None), row(2, float("inf"))])
    assert [r["loss"] for r in some.to_rows()] == [None]


@given(
    losses=st.lists(st.integers(0, 99), min_size=1, max_size=200),
    cuts=st.lists(st.integers(1, 50), max_size=5),
)
def test_points_do_not_depend_on_how_the_steps_came(losses: list[int], cuts: list[int]) -> None:
    rows = [row(step, loss) for step, loss in enumerate(losses, start=1)]
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(points, "MOST_POINTS", 16)
        at_once, by_parts = Points(), Points()
        at_once.add(rows)
        for cut in cuts:
            by_parts.add(rows[:cut])
            rows = rows[cut:]
        by_parts.add(rows)
    assert by_parts.to_rows() == at_once.to_rows()
    assert len(at_once.to_rows()) <= 16
    for point in at_once.to_rows():  # a mean over its steps, computed by hand
        last = point["step"]
        first = (last - 1) // at_once.width * at_once.width
        inside = losses[first:last]
        assert point["loss"] == float(f"{sum(inside) / len(inside):.6g}")


def test_a_row_is_shown_with_few_digits_and_without_what_it_lacks() -> None:
    known = {"step": 2, "loss": 1.23456789, "mfu": float("nan"), "skipped": True, "other": 1}
    assert shown(known) == {"step": 2, "loss": 1.23457, "mfu": None, "skipped": True}
    assert shown({"step": 2, "tokens": 123456789}) == {"step": 2, "tokens": 123456789}
