"""What in a run's own metrics is unusual, and what most often causes that.

Each check looks for one cause and returns what speaks for it, or None. Losses are nats a token.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from gpt2.config import RunConfig
from gpt2.train.metrics import Row
from gpt2.train.normality.data_facts import DataFacts
from gpt2.train.normality.known_ranges import TRAINING_WINDOW

Floats = npt.NDArray[np.float64]

RATE_TOO_HIGH, RATE_TOO_LOW = "a learning rate that is too high", "a learning rate that is too low"

FAR_FROM_UNIFORM = 0.1  # of ln(vocab_size); large models start up to 0.03 above it
TOO_EVEN, TOO_RANDOM = 0.25, 0.98  # of ln(vocab_size); texts have some 0.5 to 0.9
TOO_EASY = 0.2  # nats a token; of characters, the easiest tokens, good models reach some 0.6
PERIODIC, LEAST_PERIODIC = 0.6, 100  # correlation, and steps, that chance does not give
SHORTEST_PERIOD = 4  # steps; neighbouring changes are alike, or opposite, without a period
LEAST_NOISE = 1e-3  # nats that the texts of a step make of a difference, at the very least
# Nats between held-out and training loss: where the held-out loss rises by RISE from its best, and
# else in the first epoch, and after it. The demo ends at a gap of 1.0, in its seventh epoch.
GAP, GAP_OF_TEXTS, GAP_OF_EPOCHS, RISE = 0.3, 0.6, 2.0, 0.05
CLIMB = 0.7  # nats that no sound training loss climbs, averaged over a twentieth of the run
LEAST_STEPS = 100  # before them, and during three times the warm-up, no rate can be judged
# Of the unigram entropy: below it a model knows more than the frequencies of the tokens, and above
# it not even those.
ORDER, FREQUENCIES = 0.95, 1.1
STOPPED = 0.15  # nats; a loss that falls by less in the middle half of a run has stopped
USUAL_UNIGRAM = 0.75  # of ln(vocab_size), where the data are gone
OTHER_RATE = 3.0  # times the recipe's rate, or below it


@dataclass(frozen=True)
class Cause:
    """A likely cause, and what in the metrics speaks for it."""

    name: str
    evidence: str

    def __str__(self) -> str:
        return f"{self.name}: {self.evidence}"


@dataclass(frozen=True)
class Course:
    """How a run went, as its metrics show it.

    Args:
        config: The settings.
        rows: Rows of metrics.jsonl.
        data: What is known of its tokens, if anything.
        recipe_rate: Peak learning rate of a recipe that is like the run otherwise, if there is one.
    """

    config: RunConfig
    rows: Sequence[Row]
    data: DataFacts | None = None
    recipe_rate: float | None = None

    @cached_property
    def losses(self) -> Floats:
        """The training loss of each step that was finite, in order."""
        return np.array([row["loss"] for row in self.rows if row.get("loss") is not None], float)

    @cached_property
    def smooth(self) -> Floats:
        """The training loss, averaged over a twentieth of the steps."""
        width = min(len(self.losses), max(5, len(self.losses) // 20))
        sums = np.cumsum([0.0, *self.losses])
        return (sums[width:] - sums[:-width]) / width

    @cached_property
    def evaluations(self) -> list[tuple[int, float]]:
        """The steps of the evaluations whose held-out loss was finite, and that loss."""
        return [
            (row["step"], row["val_loss"]) for row in self.rows if row.get("val_loss") is not None
        ]

    @property
    def step(self) -> int:
        """The step that the run has reached."""
        return max((row["step"] for row in self.rows), default=0)

    @property
    def has_diverged(self) -> bool:
        """Whether the last held-out loss is not finite."""
        measured = [row["val_loss"] for row in self.rows if "val_loss" in row]
        return bool(measured) and measured[-1] is None

    @property
    def changed(self) -> dict[str, int]:
        """The settings that a resumed run has changed, and the step after which, the last time."""
        return {name: row["step"] for row in self.rows for name in row.get("changed", {})}

    def recent_loss(self, step: int, steps: int) -> float | None:
        """Return the training loss averaged over some steps up to a step; None without any."""
        within = range(step - steps + 1, step + 1)
        losses = [row["loss"] for row in self.rows if row["step"] in within and "loss" in row]
        finite = [loss for loss in losses if loss is not None]
        return float(np.mean(finite)) if finite else None

    @property
    def epochs(self) -> float | None:
        """How many times the training tokens were read; None if that is not known."""
        tokens = [row["tokens"] for row in self.rows if row.get("tokens")]
        return tokens[-1] / self.data.train_tokens if tokens and self.data else None

    @property
    def reads_one_batch(self) -> bool:
        """Whether it is to learn one batch by heart."""
        limit = self.config.data.train_tokens
        return limit is not None and limit <= self.config.training.batch_tokens


def diagnose(course: Course) -> Cause | None:
    """Return the likeliest cause of an unusual course; None if nothing in it is unusual."""
    checks = (initialization, not_finite, worse_than_guessing, dead_data, too_easy, too_few_tokens)
    rates = (other_rate, rate_too_high, rate_far_too_high, rate_too_low)
    for check in (*checks, no_shuffle, *rates):
        if cause := check(course):
            return cause
    return None


def initialization(course: Course) -> Cause | None:
    """A new model gives each token about the same probability: its loss is ln(vocab_size)."""
    expected = math.log(course.config.model.vocab_size)
    first = next((row for row in course.rows if "learning_rate" in row), {"step": 0})
    is_known = first["step"] == 1 and first.get("loss") is not None
    if course.config.training.init_from is not None or not is_known:
        return None
    if abs(first["loss"] - expected) <= FAR_FROM_UNIFORM * expected:
        return None
    return Cause(
        "a bad initialization or a wrong vocabulary",
        f"the first training loss is {first['loss']:.2f}, and ln(vocab_size) is {expected:.2f}",
    )


def not_finite(course: Course) -> Cause | None:
    """Steps that are not finite; float16 has some while its loss scaler finds its range."""
    skipped = sum("skipped" in row for row in course.rows)
    steps = sum("learning_rate" in row for row in course.rows)
    usual = max(5, 0.01 * steps) if course.config.training.dtype == "float16" else 0.001 * steps
    seen = [f"{skipped} of {steps} steps had no finite loss or gradient"] * (skipped > usual)
    seen += ["the last held-out loss is not finite"] * course.has_diverged
    return Cause(RATE_TOO_HIGH, " and ".join(seen)) if seen else None


def worse_than_guessing(course: Course) -> Cause | None:
    """A training loss that ends above that of a new model, in however few steps."""
    chance = math.log(course.config.model.vocab_size)
    if not len(course.smooth) or course.smooth[-1] <= (1 + FAR_FROM_UNIFORM) * chance:
        return None
    return Cause(
        RATE_TOO_HIGH,
        f"the training loss is {course.smooth[-1]:.2f} at last, worse than guessing at random, "
        f"ln(vocab_size), {chance:.2f}",
    )


def dead_data(course: Course) -> Cause | None:
    """Tokens that are nearly all alike, or as good as random."""
    if course.data is None or course.reads_one_batch:
        return None
    unigram, uniform = course.data.unigram_nats, math.log(course.config.model.vocab_size)
    if unigram < TOO_EVEN * uniform:
        what = "nearly all tokens are alike"
    elif unigram > TOO_RANDOM * uniform:
        what = "all tokens are equally frequent, as in a file that is read in a wrong format"
    else:
        return None
    return Cause(
        "dead data",
        f"{what}: their frequencies alone give {unigram:.2f} nats, {uniform:.2f} is the most",
    )


def too_easy(course: Course) -> Cause | None:
    """A held-out loss that no text has which the model has not seen."""
    if not course.evaluations or course.evaluations[-1][1] > TOO_EASY or course.reads_one_batch:
        return None
    return Cause(
        "a text that repeats itself, or held-out text that is in the training text, too",
        f"the held-out loss is {course.evaluations[-1][1]:.2g}",
    )


def no_shuffle(course: Course) -> Cause | None:
    """A loss that repeats itself: the same texts come in the same order.

    The correlation is that of the losses' second differences, clipped at three times the median,
    so that neither the trend of the loss nor the start of an epoch counts as a period.
    """
    changes = np.diff(course.losses[len(course.losses) // 10 :], n=2)
    if len(changes) < LEAST_PERIODIC:
        return None
    limit = 3 * np.median(np.abs(changes))
    if limit < LEAST_NOISE:
        return None
    likeness = autocorrelation(np.clip(changes, -limit, limit))[: len(changes) // 2]
    likeness[:SHORTEST_PERIOD] = 0.0
    highest = float(likeness.max())
    if highest < PERIODIC:
        return None
    period = int((likeness > 0.9 * highest).argmax())  # twice the period is as good as once
    return Cause(
        "no shuffle",
        f"the training loss repeats itself every {period} steps (correlation {highest:.2f})",
    )


def too_few_tokens(course: Course) -> Cause | None:
    """A training loss far below the held-out one, or a held-out loss that rises again."""
    if not course.evaluations or course.reads_one_batch:
        return None
    step, last = course.evaluations[-1]
    best_step, best = min(course.evaluations, key=lambda pair: pair[1])
    recent = course.recent_loss(step, TRAINING_WINDOW)
    rises, in_first_epoch = last - best > RISE, course.epochs is not None and course.epochs < 1.5
    least = GAP if rises else GAP_OF_TEXTS if in_first_epoch else GAP_OF_EPOCHS
    if recent is None or last - recent < least:
        return None
    seen = f"the held-out loss, {last:.2f}, is far above the training loss, {recent:.2f}"
    if rises:
        seen += f", and was best, {best:.2f}, at step {best_step}"
    if in_first_epoch:
        return Cause("held-out text of another kind than the training text", seen)
    times = f"they were read {course.epochs:,.1f} times, and " if course.epochs else ""
    return Cause("too few training tokens", times + seen)


def other_rate(course: Course) -> Cause | None:
    """Rates far from those of a recipe that is like the run otherwise."""
    rates = [row["learning_rate"] for row in course.rows if row.get("learning_rate") is not None]
    if course.recipe_rate is None or len(rates) < course.config.optimizer.warmup_steps:
        return None
    times = max(rates, default=course.recipe_rate) / course.recipe_rate
    if 1 / OTHER_RATE < times < OTHER_RATE:
        return None
    name, how = (RATE_TOO_HIGH, times) if times > 1 else (RATE_TOO_LOW, 1 / times)
    return Cause(
        name,
        f"its peak, {max(rates):.2g}, is {how:.3g} times {'above' if times > 1 else 'below'} the "
        f"recipe's, {course.recipe_rate:.2g}",
    )


def rate_too_high(course: Course) -> Cause | None:
    """A training loss that climbs far above what it was."""
    if not _is_long_enough(course):
        return None
    climb = course.smooth - np.minimum.accumulate(course.smooth)
    if (most := float(climb.max())) <= CLIMB:
        return None
    place = int(climb.argmax()) + len(course.losses) - len(course.smooth) + 1
    return Cause(RATE_TOO_HIGH, f"up to step {place} the training loss climbed by {most:.2f}")


def rate_far_too_high(course: Course) -> Cause | None:
    """A training loss that stops at what the frequencies of the tokens give."""
    if not _is_long_enough(course) or course.config.training.init_from is not None:
        return None
    last, known = course.smooth[-1], _unigram(course)
    is_there = ORDER * known <= last <= FREQUENCIES * known
    if not is_there or _middle_fall(course) > STOPPED:
        return None
    return Cause(
        RATE_TOO_HIGH,
        f"the training loss fell early and stopped at {last:.2f}, as a model that knows only how "
        "frequent each token is",
    )


def rate_too_low(course: Course) -> Cause | None:
    """A training loss that stays above what the frequencies of the tokens give."""
    if not _is_long_enough(course) or course.config.training.init_from is not None:
        return None
    last, known = course.smooth[-1], _unigram(course)
    if last <= FREQUENCIES * known:
        return None
    return Cause(
        RATE_TOO_LOW,
        f"after {len(course.losses)} steps the training loss is still {last:.2f}, and how frequent "
        f"each token is, which a model learns first, gives some {known:.2f}",
    )


def autocorrelation(series: Floats) -> Floats:
    """Return how much a series is like itself at each distance from 0 on: 1 where it is the same.

    >>> autocorrelation(np.array([1.0, -1.0, 1.0, -1.0])).round(3).tolist()
    [1.0, -1.0, 1.0, -1.0]
    """
    centred, count = series - series.mean(), len(series)
    power = np.abs(np.fft.rfft(centred, 2 * count)) ** 2  # as long again in zeros: no wrapping
    products = np.fft.irfft(power)[:count]
    return products / products[0] * count / np.arange(count, 0, -1)


def _is_long_enough(course: Course) -> bool:
    """Return whether a rate can be judged by the losses."""
    return len(course.losses) >= max(LEAST_STEPS, 3 * course.config.optimizer.warmup_steps)


def _unigram(course: Course) -> float:
    """Return the loss of a model that knows only how frequent each token is."""
    if course.data:
        return course.data.unigram_nats
    return USUAL_UNIGRAM * math.log(course.config.model.vocab_size)


def _middle_fall(course: Course) -> float:
    """Return by how much the training loss falls in the middle half of the run."""
    quarter = len(course.smooth) // 4
    return float(course.smooth[quarter] - course.smooth[-1 - quarter])
