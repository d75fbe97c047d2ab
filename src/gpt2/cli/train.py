"""`gpt2 train`: train a model on token shards, or continue a run."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from gpt2.cli.parsing import parse, take_flag
from gpt2.config import GPT2Config, RunConfig
from gpt2.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a model from a recipe; flags win over it. Ctrl-C saves a checkpoint and stops."""

    out: Path | None = None
    """New run directory; runs/ and the recipe's name if not given."""
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
    if any(arg.split("=")[0] == "--resume" for arg in args) and len(args) > 2:
        raise ConfigError("--resume takes the settings of the run; give it alone")
    recipe = take_flag(args, "--recipe")
    config = RunConfig.from_toml(Path(recipe)) if recipe else RunConfig()
    if preset := take_flag(args, "--model.preset"):
        config = replace(config, model=GPT2Config.preset(preset))
    default = Train(recipe=Path(recipe) if recipe else None, config=config)
    command: Train = parse(Train, args, verb="train", default=default)
    return command
