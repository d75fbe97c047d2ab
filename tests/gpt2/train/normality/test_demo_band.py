"""The band that the package ships is that of the demo as it is, and holds runs it has not seen."""

import json
import math

from gpt2.config import RECIPES, RunConfig
from gpt2.train.normality.known_ranges import BAND_FILE, HELD_OUT, demo_ranges, known_ranges
from gpt2.train.normality.nearest_recipe import settings_that_matter


def test_the_bundled_band_is_that_of_the_demo_as_it_is() -> None:
    band = json.loads(BAND_FILE.read_text(encoding="utf-8"))
    settings = settings_that_matter(RunConfig.from_toml(RECIPES / "demo.toml"))
    assert band["settings"] | {"training.steps": 900} == settings, "run benchmarks/demo_band.py"
    lengths = {run["steps"] for run in band["runs"]}
    assert {min(lengths), max(lengths)} == {100, 900}


def test_the_bundled_band_holds_the_runs_of_a_length_that_it_has_not_seen() -> None:
    runs = json.loads(BAND_FILE.read_text(encoding="utf-8"))["runs"]
    for unseen in runs:
        others = [run for run in runs if run["steps"] != unseen["steps"]]
        step, loss, _ = unseen["evaluations"][-1]
        predicted = demo_ranges(others, step, step).get(HELD_OUT)
        assert predicted is None or predicted.place(loss) == "within", unseen["steps"]


def test_the_bundled_band_is_far_from_a_model_that_knows_frequencies_alone() -> None:
    assert known_ranges("demo", 900, 900)[HELD_OUT].high < 0.6 * math.log(4096)
