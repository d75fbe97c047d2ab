"""What most often causes an unusual course, by synthetic metrics that have one fault each."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from gpt2.config import RECIPES, DataConfig, RunConfig
from gpt2.train.normality.data_facts import DataFacts
from gpt2.train.normality.diagnosis import RATE_TOO_HIGH, RATE_TOO_LOW, Course, diagnose

DEMO = RunConfig.from_toml(RECIPES / "demo.toml")
UNIFORM = math.log(4096)
FACTS = DataFacts(
    source="stdlib-docs", train_tokens=500_000, bytes_per_token=3.4, unigram_nats=6.57
)
Rows = list[dict[str, Any]]


def sound(steps: int = 300) -> list[float]:
    """Return a loss that falls from ln(vocab_size) to some 4 nats, most of it early, with noise."""
    noise = np.random.default_rng(0).normal(0, 0.05, steps)
    return [UNIFORM - 4.3 * (1 - math.exp(-k / (0.1 * steps))) + noise[k] for k in range(steps)]


def rows(losses: list[float], held_out: dict[int, float | None] | None = None) -> Rows:
    """Return the metrics of a run with these training losses, evaluated at the end, or at these."""
    found: Rows = []
    if held_out is None:
        held_out = {len(losses): losses[-1] + 0.1} if losses else {}
    for step, loss in enumerate(losses, start=1):
        row = {"step": step, "loss": loss, "learning_rate": 8e-3, "tokens": 4096 * step}
        found.append(row)
        if step in held_out:
            found.append({"step": step, "val_loss": held_out[step]})
    return found


def cause_of(metrics: Rows, config: RunConfig = DEMO, data: DataFacts | None = FACTS) -> str:
    cause = diagnose(Course(config, metrics, data))
    return "nothing" if cause is None else str(cause)


def test_a_sound_course_has_no_cause() -> None:
    assert cause_of(rows(sound())) == "nothing"
    assert cause_of(rows(sound()), data=None) == "nothing"


@pytest.mark.parametrize("steps", [0, 1, 5, 30])
def test_a_run_that_has_just_begun_has_no_cause(steps: int) -> None:
    assert cause_of(rows(sound()[:steps])) == "nothing"


@pytest.mark.parametrize("first", [UNIFORM + 3, UNIFORM - 3])
def test_a_first_loss_far_from_that_of_equal_chances_is_the_initialization(first: float) -> None:
    assert cause_of(rows([first, *sound()[1:]])) == (
        "a bad initialization or a wrong vocabulary: the first training loss is "
        f"{first:.2f}, and ln(vocab_size) is 8.32"
    )


def test_a_run_that_goes_on_from_a_model_may_begin_with_any_loss() -> None:
    config = replace(DEMO, training=replace(DEMO.training, init_from="gpt2"))
    assert cause_of(rows([4.0] * 300), config) == "nothing"


def test_steps_that_are_not_finite_are_a_rate_that_is_too_high() -> None:
    metrics = rows(sound())
    metrics[200] |= {"loss": None, "skipped": True}
    cause = cause_of(metrics)
    assert cause == f"{RATE_TOO_HIGH}: 1 of 300 steps had no finite loss or gradient"


def test_a_step_in_thousands_that_is_not_finite_is_usual() -> None:
    metrics = rows(sound(2000))
    metrics[200] |= {"loss": None, "skipped": True}
    assert cause_of(metrics) == "nothing"


def test_a_held_out_loss_that_is_not_finite_is_a_rate_that_is_too_high() -> None:
    cause = cause_of(rows(sound(), {100: 5.0, 300: None}))
    assert cause == f"{RATE_TOO_HIGH}: the last held-out loss is not finite"


def test_the_loss_scaler_of_float16_may_skip_some_steps() -> None:
    config = replace(DEMO, training=replace(DEMO.training, dtype="float16"))
    metrics = rows(sound())
    for step in (1, 2, 3):
        metrics[step]["skipped"] = True
    assert cause_of(metrics, config) == "nothing"
    assert cause_of(metrics).startswith(RATE_TOO_HIGH)


@pytest.mark.parametrize("init_from", [None, "gpt2"])
def test_a_short_run_that_ends_above_the_loss_of_guessing_has_too_high_a_rate(
    init_from: str | None,
) -> None:
    config = replace(DEMO, training=replace(DEMO.training, init_from=init_from))
    losses = [UNIFORM, 7.5, 9.0, 40.0, 50.0, 60.0, 70.0, 80.0]  # the last five: 60 on average
    assert cause_of(rows(losses), config) == (
        f"{RATE_TOO_HIGH}: the training loss is 60.00 at last, worse than guessing at random, "
        "ln(vocab_size), 8.32"
    )
    assert cause_of(rows([UNIFORM, *(1.05 * UNIFORM for _ in range(7))])) == "nothing"


@pytest.mark.parametrize(
    ("unigram", "what"), [(0.3, "nearly all tokens are alike"), (8.3, "equally frequent")]
)
def test_tokens_that_are_alike_or_random_are_dead_data(unigram: float, what: str) -> None:
    cause = cause_of(rows([8.3] * 300), data=replace(FACTS, unigram_nats=unigram))
    assert cause.startswith("dead data: ")
    assert what in cause


def test_a_held_out_loss_of_almost_nothing_is_a_text_that_the_model_has_seen() -> None:
    cause = cause_of(rows(sound(), {300: 0.1}))
    assert cause.startswith("a text that repeats itself, or held-out text that is in the training")


def test_a_loss_with_a_period_is_no_shuffle() -> None:
    texts = np.random.default_rng(1).normal(0, 0.3, 40)  # the loss of each of 40 steps' texts
    losses = [loss + texts[k % 40] for k, loss in enumerate(sound())]
    cause = cause_of(rows(losses))
    assert cause.startswith("no shuffle: the training loss repeats itself every 40 steps")


def falling(k: int) -> float:
    return UNIFORM - 4.3 * (1 - math.exp(-k / 30))


@pytest.mark.parametrize(
    "course",
    [falling, lambda k: falling(k) - 0.3 * (k // 50), lambda k: falling(k) - 0.01 * (k % 50)],
    ids=["smooth", "stairs", "teeth"],
)
def test_a_loss_without_noise_or_with_stairs_at_each_epoch_has_no_period(
    course: Callable[[int], float],
) -> None:
    noise = np.random.default_rng(2).normal(0, 0.05, 300)
    assert cause_of(rows([course(k) + noise[k] for k in range(300)])) == "nothing"
    assert cause_of(rows([falling(k) for k in range(300)])) == "nothing"


def test_a_held_out_loss_that_rises_while_the_training_loss_falls_is_too_few_tokens() -> None:
    losses = [*sound()[:150], *np.linspace(4.0, 0.5, 150)]
    cause = cause_of(
        rows(losses, {100: 5.1, 200: 5.0, 300: 7.0}), data=replace(FACTS, train_tokens=40960)
    )
    assert cause.startswith("too few training tokens: they were read 30.0 times, and the held-out")
    assert cause.endswith("was best, 5.00, at step 200")


@pytest.mark.parametrize(("gap", "is_sound"), [(1.0, True), (2.1, False)])
def test_a_text_that_is_read_again_may_be_known_better_than_the_held_out_one(
    gap: float, is_sound: bool
) -> None:
    losses = sound()
    held_out: dict[int, float | None] = {300: losses[-1] + gap}
    cause = cause_of(rows(losses, held_out), data=replace(FACTS, train_tokens=300 * 4096 // 7))
    assert cause.startswith("nothing" if is_sound else "too few training tokens: they were read")


def test_a_training_loss_that_fell_since_the_last_evaluation_is_no_gap() -> None:
    assert cause_of(rows(sound(), {20: 5.6})) == "nothing"


def test_a_gap_to_the_held_out_text_in_the_first_epoch_is_a_text_of_another_kind() -> None:
    cause = cause_of(rows(sound(), {300: 6.0}), data=replace(FACTS, train_tokens=10**8))
    assert cause.startswith("held-out text of another kind")


def test_one_batch_is_learned_by_heart_as_it_should() -> None:
    config = replace(DEMO, data=DataConfig(train_tokens=4096))
    losses = [8.3 * math.exp(-k / 30) for k in range(300)]
    assert cause_of(rows([UNIFORM, *losses], {301: 11.0}), config) == "nothing"


def test_a_training_loss_that_climbs_is_a_rate_that_is_too_high() -> None:
    losses = sound()
    losses[150:165] = [losses[149] + 2] * 15  # as long as the window of the average
    cause = cause_of(rows(losses))
    assert cause == f"{RATE_TOO_HIGH}: up to step 165 the training loss climbed by 2.04"


def test_a_training_loss_that_stops_early_at_the_frequencies_is_a_rate_that_is_too_high() -> None:
    losses = [max(6.5, UNIFORM - 0.1 * k) for k in range(300)]
    assert cause_of(rows(losses)).startswith(f"{RATE_TOO_HIGH}: the training loss fell early")


@pytest.mark.parametrize("data", [FACTS, None])
def test_a_training_loss_that_is_not_even_at_the_frequencies_is_a_rate_that_is_too_low(
    data: DataFacts | None,
) -> None:
    losses = [UNIFORM - 0.003 * k for k in range(300)]
    cause = cause_of(rows(losses), data=data)
    assert cause.startswith(f"{RATE_TOO_LOW}: after 300 steps the training loss is still 7.4")


@pytest.mark.parametrize("late", [1.0, 3.0])
def test_a_short_run_that_still_falls_at_the_frequencies_is_sound(late: float) -> None:
    # As AdamW at 6e-4 and 1,024 tokens a step: 6.8 after 75 steps, 6.4 after 225.
    losses = [6.3 + 2.0 * math.exp(-k / (50 * late)) for k in range(300)]
    assert cause_of(rows(losses)) == "nothing"


@pytest.mark.parametrize(
    ("recipe_rate", "cause"),
    [
        (8e-3 / 30, f"{RATE_TOO_HIGH}: its peak, 0.008, is 30 times above the recipe's, 0.00027"),
        (0.24, f"{RATE_TOO_LOW}: its peak, 0.008, is 30 times below the recipe's, 0.24"),
        (9e-3, "None"),
        (None, "None"),
    ],
)
def test_a_rate_far_from_that_of_the_recipe_is_the_cause(
    recipe_rate: float | None, cause: str
) -> None:
    found = diagnose(Course(DEMO, rows(sound()), FACTS, recipe_rate))
    assert str(found) == cause
