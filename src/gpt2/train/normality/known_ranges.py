"""What is known of a bundled recipe: between which bounds the figures of its runs lie."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import mean, stdev
from typing import Any

import numpy as np

from gpt2.config import RECIPES
from gpt2.train.normality.nearest_recipe import DEMO

FINEWEB_EDU_124M = "gpt2-124m-fineweb-edu"
BAND_FILE = RECIPES / "demo-band.json"  # benchmarks/demo_band.py writes it
TRAINING_WINDOW = 25  # steps over which a training loss is averaged

HELD_OUT, TRAINING, HELLASWAG = "held-out loss", "training loss", "hellaswag completion_acc_norm"

# Half the width of a band: so many standard deviations of the seeds, and at least this share of
# the mean. The share allows for what five seeds on one machine do not show: the documentation of
# another version of Python, float32 for bfloat16; of FineWeb-Edu another held-out text.
DEVIATIONS, LEAST_SHARE = 4.0, 0.015
MOST_APART = 2.5  # lengths between which a third is interpolated: the longer one by the shorter


@dataclass(frozen=True)
class Range:
    """The bounds of a figure, both included."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.3f} to {self.high:.3f}"

    def place(self, value: float) -> str:
        """Return where a value lies: within, above or below."""
        return "above" if value > self.high else "below" if value < self.low else "within"

    def times(self, low: float, high: float | None = None) -> "Range":
        """Return the range with its bounds multiplied, both alike if `high` is not given."""
        return Range(self.low * low, self.high * (low if high is None else high))


PUBLISHED = {  # at the last step; repeats of build-nanogpt's settings, see the recipe
    FINEWEB_EDU_124M: {
        HELD_OUT: Range(3.03, 3.09).times(1 - LEAST_SHARE, 1 + LEAST_SHARE),
        HELLASWAG: Range(0.300, 0.306).times(1 - LEAST_SHARE, 1 + LEAST_SHARE),
    }
}
KNOWN_AT = {
    DEMO: "at the later steps of runs of 100 to 900 steps",
    FINEWEB_EDU_124M: "at the last step",
}
ORIGINS = {
    DEMO: f"other seeds, by benchmarks/demo_band.py, {DEVIATIONS:g} standard deviations and at "
    f"least {LEAST_SHARE:.1%} to both sides of the mean",
    FINEWEB_EDU_124M: "published repeats, 3.03 to 3.09 nats/token and 0.300 to 0.306, widened by "
    f"{LEAST_SHARE:.1%} for another held-out text",
}


def known_ranges(recipe: str, steps: int, step: int) -> dict[str, Range]:
    """Return the bounds of each figure that is known of a recipe's runs, by its name.

    Args:
        recipe: Name of a bundled recipe.
        steps: Steps of the whole run, which the learning rates depend on.
        step: Step at which the figures are measured.
    """
    if recipe == DEMO:
        return demo_ranges(_demo_runs(), steps, step)
    return PUBLISHED.get(recipe, {}) if step == steps else {}


def demo_ranges(runs: Sequence[dict[str, Any]], steps: int, step: int) -> dict[str, Range]:
    """Return the bounds of the losses at a step, in nats a token, from runs of several lengths.

    Those of a length between two others are interpolated, at the same share of the whole run.

    Args:
        runs: As in demo-band.json.
        steps: Steps of the whole run; outside the lengths of the runs, and between two that are
            far apart, nothing is known.
        step: At which the losses are measured; before the first evaluation nothing is known.
    """
    lengths = sorted({run["steps"] for run in runs})
    if not lengths or not lengths[0] <= steps <= lengths[-1]:
        return {}
    above = next(length for length in lengths if length >= steps)
    below = max(length for length in lengths if length <= steps)
    if above > MOST_APART * below:
        return {}
    weight = 0.0 if above == below else math.log(steps / below) / math.log(above / below)
    ranges = {}
    for column, name in ((1, HELD_OUT), (2, TRAINING)):
        one, other = (_range_at(runs, length, step / steps, column) for length in (below, above))
        if one and other:
            ranges[name] = Range(
                one.low + weight * (other.low - one.low),
                one.high + weight * (other.high - one.high),
            )
    return ranges


def demo_bytes_per_token() -> float:
    """Return the bytes of the demo's held-out text per token of its vocabulary."""
    return float(_demo_band()["held_out_bytes_per_token"])


def _range_at(
    runs: Sequence[dict[str, Any]], length: int, share: float, column: int
) -> Range | None:
    """Return the bounds of a loss after a share of the steps, over the runs of one length."""
    losses = []
    for run in runs:
        if run["steps"] == length:
            steps = [row[0] for row in run["evaluations"]]
            if share * length < steps[0]:
                return None
            values = [row[column] for row in run["evaluations"]]
            losses.append(float(np.interp(share * length, steps, values)))
    middle = mean(losses)
    deviation = stdev(losses) if len(losses) > 1 else 0.0
    half = max(DEVIATIONS * deviation, LEAST_SHARE * middle)
    return Range(middle - half, middle + half)


@cache
def _demo_band() -> dict[str, Any]:
    if not BAND_FILE.exists():  # removed, to be made anew: nothing is known until then
        return {"runs": []}
    band: dict[str, Any] = json.loads(BAND_FILE.read_text(encoding="utf-8"))
    return band


def _demo_runs() -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = _demo_band()["runs"]
    return runs
