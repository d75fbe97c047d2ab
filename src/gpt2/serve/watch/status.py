"""Is a run waiting, training, silent or ended, and how long will it take yet?"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any, Literal

from gpt2.config import RunConfig
from gpt2.serve.watch.points import rounded
from gpt2.train.metrics import Row

Phase = Literal["waiting", "training", "silent", "ended"]

LATE_STEPS = 100  # whose pace is taken
# A run is silent after so many of its steps without news, and these seconds, whatever its pace.
MANY_STEPS, LEAST_SECONDS = 10, 15.0
# More, where an evaluation or a checkpoint may be under way: seconds, and times what the longest
# evaluation took.
PAUSE_SECONDS, MANY_EVALUATIONS = 60.0, 3
SILENT_DIGITS = 10  # seconds of silence are counted by so many, so that few of them are sent


@dataclass(frozen=True, kw_only=True)
class Course:
    """What is known of how far a run is."""

    config: RunConfig | None  # None: not there, or not readable
    late: Sequence[Row]  # the last steps, at most LATE_STEPS
    held_out: Sequence[Row]  # all evaluations
    has_report: bool
    silent_seconds: float  # since anything changed in its directory
    just_started: bool = False  # no step yet since the metrics were begun or cut

    @property
    def step(self) -> int:
        """Steps taken."""
        return self.late[-1]["step"] if self.late else 0

    @property
    def evaluated(self) -> int:
        """Step of the last evaluation; 0 before the first."""
        return self.held_out[-1]["step"] if self.held_out else 0


def status_of(course: Course) -> dict[str, Any]:
    """Return the status of a run, in strict JSON.

    Returns:
        "phase"; "step" and "steps" of the whole run; "seconds_left"; "silent_seconds" since the
        last news; "tokens_per_second" and "mfu", of the late steps. None is what is not known.
    """
    phase, steps = phase_of(course), course.config and course.config.training.steps
    runs = phase in ("training", "silent")
    silent = int(course.silent_seconds // SILENT_DIGITS * SILENT_DIGITS)
    return {
        "phase": phase,
        "step": course.step,
        "steps": steps,
        "seconds_left": rounded(seconds_left(course)) if runs else None,
        "silent_seconds": silent if runs else None,
        "tokens_per_second": rounded(late_figure(course.late, "tokens_per_second")),
        "mfu": rounded(late_figure(course.late, "mfu")),
    }


def phase_of(course: Course) -> Phase:
    """Return what a run does."""
    if has_ended(course):
        return "ended"
    if not course.late:
        return "waiting"
    return "silent" if course.silent_seconds > patience(course) else "training"


def has_ended(course: Course) -> bool:
    """Return whether the last step is taken and evaluated, and the report is written.

    A run that gets more steps after its end still has its old report, so its last step must be
    evaluated, too. A run without a report, as after a kill, has ended when nothing more comes.
    """
    if course.config is None:
        return course.has_report
    last = course.config.training.steps
    if course.step < last:
        return False
    is_evaluated = course.evaluated >= last
    return (course.has_report and is_evaluated) or course.silent_seconds > patience(course)


def patience(course: Course) -> float:
    """Return after how many seconds without news a run counts as silent."""
    seconds = LEAST_SECONDS + MANY_STEPS * (seconds_a_step(course) or 0.0)
    if course.just_started or may_pause(course):
        seconds += PAUSE_SECONDS + MANY_EVALUATIONS * longest_evaluation(course)
    return seconds


def may_pause(course: Course) -> bool:
    """Return whether an evaluation, a checkpoint or the end of the run may follow the last step."""
    if course.config is None:
        return True
    every = (course.config.evaluation.every, course.config.checkpoint.every)
    return course.step >= course.config.training.steps or any(course.step % n == 0 for n in every)


def seconds_left(course: Course) -> float | None:
    """Return what the steps and evaluations that are left take, at the pace of the late ones."""
    pace = seconds_a_step(course)
    if course.config is None or pace is None:
        return None
    steps, every = course.config.training.steps, course.config.evaluation.every
    rounds = steps // every - course.evaluated // every
    if steps % every and course.evaluated < steps:  # the last step evaluates, whatever its number
        rounds += 1
    took = evaluation_seconds(course.held_out)
    return max(0, steps - course.step) * pace + max(0, rounds) * (took[-1] if took else 0.0)


def seconds_a_step(course: Course) -> float | None:
    """Return what a late step takes; None if that is not known."""
    pace = late_figure(course.late, "tokens_per_second")
    return course.config.training.batch_tokens / pace if course.config and pace else None


def longest_evaluation(course: Course) -> float:
    """Return the seconds of the longest evaluation; before the first, an estimate."""
    if took := evaluation_seconds(course.held_out):
        return max(took)
    pace = late_figure(course.late, "tokens_per_second")
    return course.config.evaluation.val_tokens / pace if course.config and pace else 0.0


def evaluation_seconds(held_out: Sequence[Row]) -> list[float]:
    """Return what each evaluation took, from the sums since step 1.

    >>> evaluation_seconds([{"evaluation_seconds": 4.0}, {}, {"evaluation_seconds": 9.0}])
    [4.0, 5.0]
    """
    sums = [row.get("evaluation_seconds") for row in held_out]
    known = [0.0, *(seconds for seconds in sums if seconds is not None)]
    return [later - sooner for sooner, later in pairwise(known)]


def late_figure(late: Sequence[Row], name: str) -> float | None:
    """Return the median of a figure over the late steps; None where none has it."""
    known = [row[name] for row in late if row.get(name) is not None]
    return median(known) if known else None
