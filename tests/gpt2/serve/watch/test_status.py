"""Waiting, training, silent or ended, and the time that is left: by hand-computed values."""

from dataclasses import replace

import pytest

from gpt2.config import CheckpointConfig, EvaluationConfig, RunConfig, TrainingConfig
from gpt2.serve.watch.status import Course, patience, phase_of, seconds_left, status_of

# A step of 1024 tokens takes 2 seconds at 512 tokens/s.
CONFIG = RunConfig(
    training=TrainingConfig(steps=100, batch_tokens=1024, micro_batch=1),
    evaluation=EvaluationConfig(every=10, val_tokens=5120),
    checkpoint=CheckpointConfig(every=25),
)


def late(step: int) -> list[dict[str, float]]:
    """The last rows at a step; the first of them was slow, as it compiled."""
    rows = [{"step": n, "tokens_per_second": 512.0, "mfu": 0.4} for n in range(1, step + 1)]
    return [{"step": 1, "tokens_per_second": 3.0}, *rows[1:]]


def held_out(step: int) -> list[dict[str, float]]:
    """Evaluations up to a step, 6 seconds each."""
    return [
        {"step": n, "val_loss": 3.0, "evaluation_seconds": 0.6 * n} for n in range(10, step, 10)
    ]


def course(step: int, silent_seconds: float = 0.0, **more: object) -> Course:
    known = Course(
        config=CONFIG,
        late=late(step) if step else [],
        held_out=held_out(step + 1),
        has_report=False,
        silent_seconds=silent_seconds,
    )
    return replace(known, **more)  # type: ignore[arg-type]


def test_a_run_without_a_step_is_waiting() -> None:
    status = status_of(course(0, silent_seconds=1e6))
    assert status == {
        "phase": "waiting",
        "step": 0,
        "steps": 100,
        "seconds_left": None,
        "silent_seconds": None,
        "tokens_per_second": None,
        "mfu": None,
    }
    assert phase_of(course(0, config=None)) == "waiting"


def test_a_run_that_goes_on_is_training() -> None:
    assert status_of(course(12, silent_seconds=1.5)) == {
        "phase": "training",
        "step": 12,
        "steps": 100,
        # 88 steps of 2 s, and the evaluations at 20, 30, ... 100, 6 s each.
        "seconds_left": 88 * 2 + 9 * 6,
        "silent_seconds": 0,
        "tokens_per_second": 512,
        "mfu": 0.4,
    }


def test_between_steps_a_run_is_silent_after_ten_of_them_and_15_seconds() -> None:
    assert patience(course(12)) == pytest.approx(15 + 10 * 2)
    assert phase_of(course(12, silent_seconds=35)) == "training"
    assert phase_of(course(12, silent_seconds=36)) == "silent"


@pytest.mark.parametrize(
    ("step", "why"), [(20, "it evaluates"), (25, "it saves"), (100, "it writes its report")]
)
def test_where_something_else_may_be_under_way_it_has_more_time(step: int, why: str) -> None:
    # 60 s for a checkpoint, and three times the longest evaluation.
    assert patience(course(step)) == pytest.approx(35 + 60 + 3 * 6), why


def test_before_the_first_evaluation_its_time_is_estimated_from_its_tokens() -> None:
    first = course(10, held_out=[])
    assert patience(first) == pytest.approx(35 + 60 + 3 * 10)


def test_after_a_resumption_the_first_step_has_more_time_since_it_may_compile() -> None:
    assert patience(course(12, just_started=True)) == pytest.approx(35 + 60 + 3 * 6)


def test_seconds_of_silence_are_counted_by_tens() -> None:
    assert status_of(course(12, silent_seconds=59.0))["silent_seconds"] == 50


@pytest.mark.parametrize(
    ("step", "evaluated", "rounds"),
    [(19, 10, 9), (20, 10, 9), (20, 20, 8), (100, 90, 1), (100, 100, 0)],
)
def test_the_time_left_has_the_evaluation_that_is_due(
    step: int, evaluated: int, rounds: int
) -> None:
    known = course(step, held_out=held_out(evaluated + 1))
    assert seconds_left(known) == pytest.approx((100 - step) * 2 + rounds * 6)


def test_the_last_step_evaluates_whatever_its_number() -> None:
    config = replace(CONFIG, training=replace(CONFIG.training, steps=101))
    assert seconds_left(course(100, config=config)) == pytest.approx(1 * 2 + 1 * 6)
    # Evaluated at 101, and then given more steps: those at 110 and at 115.
    config = replace(CONFIG, training=replace(CONFIG.training, steps=115))
    odd = [*held_out(101), {"step": 101, "val_loss": 3.0, "evaluation_seconds": 66.0}]
    assert seconds_left(course(101, config=config, held_out=odd)) == pytest.approx(14 * 2 + 2 * 6)


def test_a_run_has_ended_with_its_last_evaluation_and_its_report() -> None:
    assert phase_of(course(100)) == "training"  # it writes its report
    assert phase_of(course(100, has_report=True)) == "ended"
    assert status_of(course(100, has_report=True))["seconds_left"] is None


def test_a_report_from_before_more_steps_does_not_end_a_run() -> None:
    assert phase_of(course(60, has_report=True)) == "training"
    assert phase_of(course(100, has_report=True, held_out=held_out(91))) == "training"


def test_a_run_without_a_report_has_ended_when_nothing_more_comes() -> None:
    assert phase_of(course(100, silent_seconds=1000)) == "ended"
    assert phase_of(course(99, silent_seconds=1000)) == "silent"


def test_without_settings_there_is_less_to_know() -> None:
    unknown = course(12, config=None, silent_seconds=50)
    assert phase_of(unknown) == "training"  # it may evaluate
    assert phase_of(replace(unknown, silent_seconds=1000)) == "silent"
    assert phase_of(replace(unknown, has_report=True)) == "ended"
    status = status_of(unknown)
    assert (status["steps"], status["seconds_left"]) == (None, None)


def test_rows_of_an_old_version_that_lack_figures_leave_them_unknown() -> None:
    old = course(0, late=[{"step": 7, "loss": 2.0}], held_out=[{"step": 5, "val_loss": 2.0}])
    status = status_of(old)
    assert status["phase"] == "training"
    assert (status["seconds_left"], status["tokens_per_second"], status["mfu"]) == (
        None,
        None,
        None,
    )
