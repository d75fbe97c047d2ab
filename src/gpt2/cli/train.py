"""`gpt2 train`: train a model on token shards, or continue a run."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from gpt2.cli.parsing import UsageError, parse, take_flag
from gpt2.config import RunConfig


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a model from a recipe; flags win over it. Ctrl-C saves a checkpoint and stops."""

    out: Path | None = None
    """New run directory; runs/ and the recipe's name if not given."""
    preset: Annotated[str | None, tyro.conf.arg(name="model.preset")] = None
    """Layers, heads and channels of a released model: gpt2, gpt2-medium, gpt2-large or gpt2-xl."""
    recipe: Path | None = None
    """TOML file of settings; what it does not set keeps its default."""
    resume: Path | None = None
    """Run directory to continue, with the settings it was started with."""
    config: Annotated[RunConfig, tyro.conf.arg(name="")] = field(default_factory=RunConfig)

    def run(self) -> None:
        """Start the run, or continue it, and print its directory."""
        from gpt2.train import loop

        if self.resume:
            loop.resume(self.resume)
            print(self.resume)
            return
        run = self.out or Path("runs") / (self.recipe.stem if self.recipe else "train")
        loop.start(self.config, run)
        print(run)


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    _read(list(args)).run()


def _read(args: list[str]) -> Train:
    """Return the settings: defaults, then the recipe, then the flags."""
    recipe, preset = take_flag(args, "--recipe"), take_flag(args, "--model.preset")
    config = RunConfig.from_toml(Path(recipe)) if recipe else RunConfig()
    if preset:
        config = replace(config, model=config.model.with_preset(preset))
    default = Train(recipe=Path(recipe) if recipe else None, config=config)
    command: Train = parse(Train, args, verb="train", default=default)
    if command.resume and (recipe or preset or replace(command, resume=None) != default):
        raise UsageError("--resume takes the settings of the run: give it alone")
    return command
