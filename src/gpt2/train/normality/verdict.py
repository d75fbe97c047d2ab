"""Is a run normal: is it within what is known of its recipe, and if not, why most likely?"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpt2.config import SETTINGS_FILE, RunConfig
from gpt2.errors import CheckpointError
from gpt2.train.evaluations import read_evaluations
from gpt2.train.metrics import Row, read_metrics
from gpt2.train.normality.data_facts import DataFacts, read_data_facts
from gpt2.train.normality.diagnosis import Cause, Course, diagnose
from gpt2.train.normality.known_ranges import (
    HELD_OUT,
    HELLASWAG,
    KNOWN_AT,
    ORIGINS,
    TRAINING,
    TRAINING_WINDOW,
    Range,
    demo_bytes_per_token,
    known_ranges,
)
from gpt2.train.normality.nearest_recipe import DEMO, Match, match_recipe

BITS, EPOCHS = "bits/byte, estimated", "times the training tokens were read"
HELLASWAG_ROWS = 10_042  # of the validation set; of fewer rows no range is known
OTHER_TOKENIZER = 0.03  # share by which the bytes of a token differ
LEARNED_BY_HEART = 0.5  # nats/token
VERDICTS = {"within": "Normal", "above": "Higher than normal", "below": "Lower than normal"}


@dataclass(frozen=True)
class Figure:
    """A figure of a run, and between which bounds it lies in like runs, if that is known."""

    name: str
    value: float
    known: Range | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a run is normal."""

    line: str
    match: Match
    step: int  # that it has reached
    steps: int  # of the whole run
    figures: tuple[Figure, ...]
    cause: Cause | None
    band: tuple[tuple[int, float, float], ...]  # a step, and the known range of the held-out loss

    def to_markdown(self) -> str:
        """Return the line, the table of the figures, and where the ranges are from."""
        parts = [self.line]
        if self.figures:
            rows = [f"| {f.name} | {f.value:.4g} | {f.known or ''} |" for f in self.figures]
            parts.append("\n".join(["| figure | this run | known range |", "|---|---|---|", *rows]))
        if self.band:
            parts.append(f"Ranges of recipe {self.match.recipe}: {ORIGINS[self.match.recipe]}.")
        return "\n\n".join(parts)


def judge(run: Path) -> Verdict:
    """Set a run beside what is known of its recipe.

    Args:
        run: Its directory; the run may still be going on.
    Raises:
        CheckpointError: It holds no run, or a file of its rows is damaged.
        ConfigError: Its settings are damaged.
    """
    if not (run / SETTINGS_FILE).exists():
        raise CheckpointError(f"{run} holds no run: no {SETTINGS_FILE} there; name a run directory")
    config = RunConfig.from_toml(run / SETTINGS_FILE)
    return judge_metrics(config, read_metrics(run), read_data_facts(config), read_evaluations(run))


def judge_metrics(
    config: RunConfig,
    rows: Sequence[Row],
    data: DataFacts | None = None,
    evaluations: Sequence[Row] = (),
) -> Verdict:
    """Set the metrics of a run beside what is known of its recipe.

    Args:
        config: The settings of the run.
        rows: Rows of metrics.jsonl.
        data: What is known of its tokens, if anything.
        evaluations: Rows of evaluations.jsonl.
    """
    match = match_recipe(config, data.source if data else None)
    course = Course(config, rows, data, match.learning_rate)
    figures = _figures(course, match, evaluations)
    held_out = next((f for f in figures if f.name == HELD_OUT and f.known), None)
    if held_out and not course.has_diverged:
        cause = _cause(held_out, course, match, figures)
        sentences = [_beside(held_out, course, match, cause, figures)]
    else:
        cause = diagnose(course)
        sentences = [_alone(course, cause), match.obstacle or _nothing_known(course, match)]
    if course.step < config.training.steps:
        sentences.append(
            f"At step {course.step} of {config.training.steps} it is still running, or ended early."
        )
    return Verdict(
        line=" ".join(filter(None, sentences)),
        match=match,
        step=course.step,
        steps=config.training.steps,
        figures=tuple(figures),
        cause=cause,
        band=known_band(match, config.training.steps, [step for step, _ in course.evaluations]),
    )


def known_band(
    match: Match, steps: int, evaluated: Iterable[int]
) -> tuple[tuple[int, float, float], ...]:
    """Return the known range of the held-out loss at each step that has one: step, low, high.

    Args:
        match: The nearest recipe of the run.
        steps: Of the whole run.
        evaluated: Steps of its evaluations.
    """
    found = ((step, _known(match, steps, step).get(HELD_OUT)) for step in evaluated)
    return tuple((step, known.low, known.high) for step, known in found if known)


def _figures(course: Course, match: Match, evaluations: Sequence[Row]) -> list[Figure]:
    """Return the figures of a run at its last evaluation, in the order of the table."""
    figures = []
    if course.evaluations:
        step, held_out = course.evaluations[-1]
        known = _known(match, course.config.training.steps, step)
        figures.append(Figure(HELD_OUT, held_out, known.get(HELD_OUT)))
        if (recent := course.recent_loss(step, TRAINING_WINDOW)) is not None:
            figures.append(Figure(TRAINING, recent, known.get(TRAINING)))
        figures += _bits_per_byte(course, match, held_out, known.get(HELD_OUT))
    if course.epochs is not None:
        figures.append(Figure(EPOCHS, course.epochs))
    return figures + _hellaswag(course, match, evaluations)


def _hellaswag(course: Course, match: Match, evaluations: Sequence[Row]) -> list[Figure]:
    """Return the accuracy on HellaSwag at the newest step; of several there, that of most rows."""
    limit = course.config.evaluation.hellaswag_rows
    measured = [
        (row["step"], limit or HELLASWAG_ROWS, row["hellaswag_acc_norm"])
        for row in course.rows
        if row.get("hellaswag_acc_norm") is not None
    ]
    measured += [
        (row["step"], row.get("rows", HELLASWAG_ROWS), row["completion_acc_norm"])
        for row in evaluations
        if row["evaluation"] == "hellaswag" and row.get("completion_acc_norm") is not None
    ]
    if not measured:
        return []
    step, rows, accuracy = sorted(measured, key=lambda found: found[:2])[-1]
    known = _known(match, course.config.training.steps, step) if rows >= HELLASWAG_ROWS else {}
    return [Figure(HELLASWAG, accuracy, known.get(HELLASWAG))]


def _known(match: Match, steps: int, step: int) -> dict[str, Range]:
    return {} if match.obstacle else known_ranges(match.recipe, steps, step)


def _bits_per_byte(
    course: Course, match: Match, held_out: float, known: Range | None
) -> list[Figure]:
    """Return the held-out loss in bits a byte, which does not depend on the tokenizer."""
    if course.data is None or not course.data.bytes_per_token:
        return []
    value = held_out / math.log(2) / course.data.bytes_per_token
    if known is None or match.recipe != DEMO:
        return [Figure(BITS, value)]
    return [Figure(BITS, value, known.times(1 / math.log(2) / demo_bytes_per_token()))]


def _cause(
    held_out: Figure, course: Course, match: Match, figures: Sequence[Figure]
) -> Cause | None:
    """Return the likeliest cause of a held-out loss outside of its range."""
    place = held_out.known.place(held_out.value) if held_out.known else "within"
    if place == "within":
        return None
    if cause := diagnose(course):
        return cause
    if match.recipe == DEMO and (cause := _other_tokenizer(course, figures)):
        return cause
    if match.differing:
        return Cause("other settings", match.name_differing())
    if course.changed:
        named = (f"{name} after step {step}" for name, step in course.changed.items())
        return Cause("settings that changed when the run was resumed", ", ".join(named))
    if place == "below":
        return Cause(
            "held-out text that is in the training text, too",
            "settings and tokens are those of the recipe",
        )
    return None


def _other_tokenizer(course: Course, figures: Sequence[Figure]) -> Cause | None:
    """Return whether the tokens of a demo hold more or less text than those of its recipe."""
    own, usual = course.data and course.data.bytes_per_token, demo_bytes_per_token()
    if not own or abs(own / usual - 1) <= OTHER_TOKENIZER:
        return None
    bits = next(figure for figure in figures if figure.name == BITS)
    place = bits.known.place(bits.value) if bits.known else "unknown"
    return Cause(
        "another tokenizer",
        f"a token of the held-out text has {own:.2f} bytes, not {usual:.2f}; the bits/byte, which "
        f"do not depend on it, are {place} their range",
    )


def _beside(
    held_out: Figure, course: Course, match: Match, cause: Cause | None, figures: Sequence[Figure]
) -> str:
    """Return the verdict on a run whose held-out loss has a known range."""
    assert held_out.known
    place = held_out.known.place(held_out.value)
    line = (
        f"{VERDICTS[place]}: the held-out loss is {held_out.value:.3f} nats/token at step "
        f"{course.evaluations[-1][0]}, the range of recipe {match.recipe} is {held_out.known}"
    )
    for figure in figures:
        if figure.name == HELLASWAG and figure.known:
            line += f"; HellaSwag, {figure.value:.3f}, is {figure.known.place(figure.value)} "
            line += f"its range, {figure.known}"
    if cause:
        return f"{line}. This is most often because of {cause}."
    if place != "within":
        return f"{line}. Nothing else in its metrics is unusual."
    return line + (f", with {match.name_differing()}." if match.differing else ".")


def _alone(course: Course, cause: Cause | None) -> str:
    """Return the verdict on a run of which no range is known."""
    if not len(course.losses):
        return "No finite loss has been recorded" + (f", because of {cause}." if cause else ".")
    if cause:
        return f"Not normal, most often because of {cause}."
    last = course.smooth[-1]
    if course.reads_one_batch and len(course.losses) == course.config.training.steps:
        if last <= LEARNED_BY_HEART:
            return f"It has learned its one batch by heart, as it should: a loss of {last:.3g}."
        return (
            f"It has not learned its one batch by heart: a loss of {last:.3g}, most often because "
            "of too few steps, or a defect of the model."
        )
    return "Nothing in its metrics is unusual."


def _nothing_known(course: Course, match: Match) -> str:
    """Return why no range is known of a run whose settings are those of a recipe."""
    if course.has_diverged:
        return ""
    if not course.evaluations:
        return "No held-out loss has been measured yet."
    step, steps = course.evaluations[-1][0], course.config.training.steps
    where = f", only {KNOWN_AT[match.recipe]}" if match.recipe in KNOWN_AT else ""
    return f"Of recipe {match.recipe} no range is known at step {step} of {steps}{where}."
