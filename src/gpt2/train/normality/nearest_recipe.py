"""Which bundled recipe a run is one of, and in which settings it differs from that."""

from dataclasses import dataclass, fields, replace
from typing import Any

from gpt2.config import (
    CheckpointConfig,
    EvaluationConfig,
    HistoryConfig,
    RunConfig,
    bundled_recipes,
    recipe_path,
)
from gpt2.prepare.sources import FINEWEB_EDU_REPOSITORY, STDLIB_DOCS

DEMO = "demo"
SOURCES = {DEMO: STDLIB_DOCS} | {  # of the text, as manifest.json has it
    name: FINEWEB_EDU_REPOSITORY for name in bundled_recipes() if name.endswith("fineweb-edu")
}

# They change where, how fast and how exactly a run computes, or which of many like runs it is.
WITHOUT_EFFECT = frozenset(
    [
        *("data.directory", "data.seed", "training.seed", "training.dtype", "training.device"),
        *("training.compile", "training.micro_batch", "training.track", "training.max_hours"),
        "training.timeout_seconds",
        *("training.attention", "training.attention_blocks", "training.parallel"),
        "training.gradient_checkpointing",
        *(f"evaluation.{entry.name}" for entry in fields(EvaluationConfig)),
        *(f"checkpoint.{entry.name}" for entry in fields(CheckpointConfig)),
        *(f"history.{entry.name}" for entry in fields(HistoryConfig)),
    ]
)
# A run that differs in these alone is set beside the recipe: its loss means the same.
COMPARABLE = ("optimizer.", "data.train_tokens", "training.short_context")
MOST_NAMED = 4  # settings that a line names


@dataclass(frozen=True, kw_only=True)
class Match:
    """The nearest bundled recipe of a run."""

    recipe: str
    differing: dict[str, tuple[Any, Any]]  # settings: in the run, and in the recipe
    obstacle: str | None  # why the run cannot be set beside the recipe; None if it can

    @property
    def learning_rate(self) -> float | None:
        """The recipe's peak learning rate, where that tells something about the run's own."""
        if self.obstacle or "optimizer.kind" in self.differing:
            return None
        return float(_settings_of(self.recipe)["optimizer.learning_rate"])

    def name_differing(self) -> str:
        """Return the settings that differ as text, the first of many."""
        named = [
            f"{name} {_value(here)}, not {_value(there)}"
            for name, (here, there) in list(self.differing.items())[:MOST_NAMED]
        ]
        more = len(self.differing) - MOST_NAMED
        return "; ".join(named) + (f"; and {more} more settings" if more > 0 else "")


def match_recipe(config: RunConfig, source: str | None) -> Match:
    """Return the bundled recipe with the fewest settings that differ from those of a run.

    Args:
        config: The settings of the run.
        source: Where its text is from, as `gpt2 prepare` names it; None if that is not known.
    """
    found = {name: _differences(config, name) for name in bundled_recipes()}
    recipe = min(found, key=lambda name: len(found[name]))
    match = Match(recipe=recipe, differing=found[recipe], obstacle=None)
    if any(not name.startswith(COMPARABLE) for name in match.differing):
        obstacle = f"No bundled recipe has its settings; of {recipe}, the nearest, it differs in "
        return replace(match, obstacle=f"{obstacle}{match.name_differing()}.")
    if source is not None and source != SOURCES.get(recipe, source):
        obstacle = f"Its settings are those of recipe {recipe}, its text is another: {source}."
        return replace(match, obstacle=obstacle)
    return match


def settings_that_matter(config: RunConfig) -> dict[str, Any]:
    """Return the settings that change how a run goes, by name; without those that are not set."""
    return {
        name: value
        for section, values in config.to_sections().items()
        for key, value in values.items()
        if (name := f"{section}.{key}") not in WITHOUT_EFFECT
    }


def _differences(config: RunConfig, recipe: str) -> dict[str, tuple[Any, Any]]:
    """Return each setting that differs and matters: in the run, and in the recipe."""
    here, there = settings_that_matter(config), _settings_of(recipe)
    # The demo takes as many steps as fit into its minutes.
    ignored = {"training.steps"} if recipe == DEMO else set()
    if recipe not in SOURCES:  # it takes any text, whose vocabulary sets the size
        ignored.add("model.vocab_size")
    if (
        config.training.init_from and "training.init_from" in there
    ):  # the shape is that of its model
        ignored |= {name for name in here if name.startswith("model.") and "pdrop" not in name}
    return {
        name: (here.get(name), there.get(name))
        for name in sorted(here.keys() | there.keys())
        if name not in ignored and here.get(name) != there.get(name)
    }


def _settings_of(recipe: str) -> dict[str, Any]:
    return settings_that_matter(RunConfig.from_toml(recipe_path(recipe)))


def _value(value: Any) -> str:
    return "not set" if value is None else str(value)
