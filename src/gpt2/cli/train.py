"""`gpt2 train`: train a model on token shards, or continue a run."""

import dataclasses
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Self

import tyro

from gpt2.cli.parsing import UsageError, parse, take_flag
from gpt2.cli.streams import is_rank_0
from gpt2.config import SETTINGS_FILE, RunConfig, bundled_recipes, recipe_path

RECIPE_HELP = (
    "Settings; what they leave out keeps its default. A path of a TOML file, or the name of a "
    f"bundled recipe: {', '.join(bundled_recipes())}."
)

AUTO_RESUME = "--auto-resume"


@dataclass(frozen=True, kw_only=True)
class Train:
    """Train a model from a recipe; flags win over it. Ctrl-C saves a checkpoint and stops.

    A key that one section alone has needs no section: --batch-tokens is --training.batch-tokens.
    Under torchrun, several processes train one model: torchrun --nproc-per-node 8 -m gpt2 train ...
    """

    out: Path | None = None
    """New run directory; runs/NAME of the recipe if not given."""
    preset: Annotated[str | None, tyro.conf.arg(name="model.preset")] = None
    """Layers, heads and channels of a released model: gpt2, gpt2-medium, gpt2-large or gpt2-xl."""
    recipe: Annotated[Path | None, tyro.conf.arg(help=RECIPE_HELP)] = None
    resume: Path | None = None
    """Run directory to continue with its settings; flags change those that may be changed."""
    auto_resume: bool = False
    """Continue the run in --out with its own settings and the flags, if there is one; else start
    it. So one command serves the first start and every restart, as by torchrun or Slurm."""
    allow_changes: str = ""
    """With --resume: settings that may change although the mathematics do, with commas between."""
    dry_run: bool = False
    """Print what would run: parameters, steps, memory, and the time by a few measured passes."""
    config: Annotated[RunConfig, tyro.conf.arg(name="")] = field(default_factory=RunConfig)

    def run(self) -> None:
        """Start the run, or continue it, and print its directory."""
        from gpt2.progress import log
        from gpt2.train.dry_run import plan
        from gpt2.train.run import resume, start

        directory = self.out or default_directory(self.recipe)
        allowed = [_setting(name) for name in self.allow_changes.split(",") if name]
        if self.dry_run:
            if self.resume is not None:
                text = plan(self.config, resumed=self.resume, allow_changes=allowed)
            else:
                text = plan(self.config, new=self.out)
            if text:
                print(text)
            return
        if self.resume is not None:
            directory = self.resume
            if self.auto_resume and is_rank_0():
                log(f"{directory} holds a run, which continues with its own settings and the flags")
            resume(directory, self.config, allow_changes=allowed)
        else:
            start(self.config, directory)
        if is_rank_0():
            print(directory)

    def with_weights_from(self, source: str | None) -> Self:
        """Return the command with another `training.init_from`."""
        training = replace(self.config.training, init_from=source)
        return replace(self, config=replace(self.config, training=training))


def default_directory(recipe: Path | None) -> Path:
    """Return where a run goes if no directory is given."""
    return Path("runs") / (recipe.stem if recipe else "train")


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    _read([_with_section(arg) for arg in args]).run()


def _read(args: list[str]) -> Train:
    """Return the settings: defaults, then the recipe or the run's own, then the flags."""
    recipe, preset = take_flag(args, "--recipe"), take_flag(args, "--model.preset")
    run = take_flag(args, "--resume")
    if run is not None and (recipe or preset):
        raise UsageError("--resume takes the settings of the run: give no recipe and no preset")
    auto = any(arg.replace("_", "-") == AUTO_RESUME for arg in args)
    if run is not None and auto:
        raise UsageError(f"{AUTO_RESUME} goes with --out, which names the run; give no --resume")
    config = RunConfig()
    path = None if recipe is None else recipe_path(recipe)
    if auto and (run := _run_to_continue(args, path)):
        path = preset = None
    if path:
        config = RunConfig.from_toml(path)
    elif run is not None and (Path(run) / SETTINGS_FILE).exists():
        config = RunConfig.from_toml(Path(run) / SETTINGS_FILE)
    if preset:
        config = replace(config, model=config.model.with_preset(preset))
    default = Train(
        recipe=path,
        resume=None if run is None else Path(run),
        config=config,
    )
    command: Train = parse(Train, args, verb="train", default=default)
    if command.auto_resume and command.resume is not None:
        # What a run began with counts at its first start alone.
        return command.with_weights_from(default.config.training.init_from)
    if command.resume is not None and command.out:
        raise UsageError("--resume continues a run in its own directory: give no --out")
    if command.allow_changes and command.resume is None and not command.auto_resume:
        raise UsageError("--allow-changes goes with --resume")
    is_sized = _sets_vocab_size(path, args) or command.resume is not None
    return command if is_sized else _sized_by_data(command)


def _run_to_continue(args: list[str], recipe: Path | None) -> str | None:
    """Return the directory that a run would start in if it holds one already, and drop --out."""
    out = take_flag(args, "--out")
    run = default_directory(recipe) if out is None else Path(out)
    if (run / SETTINGS_FILE).exists():
        return str(run)
    if out is not None:
        args += ["--out", out]
    return None


def _sets_vocab_size(recipe: Path | None, args: Sequence[str]) -> bool:
    flags = {arg.partition("=")[0].replace("_", "-") for arg in args}
    sections = tomllib.loads(recipe.read_text(encoding="utf-8")) if recipe else {}
    return "--model.vocab-size" in flags or "vocab_size" in sections.get("model", {})


def _sized_by_data(command: Train) -> Train:
    """Return the settings with a model that has the size of the data's vocabulary."""
    from gpt2.progress import log
    from gpt2.train.settings import sized_by_data

    config = sized_by_data(command.config)
    size, directory = config.model.vocab_size, config.data.directory
    if size != command.config.model.vocab_size and is_rank_0():
        log(f"model.vocab_size is {size}, the size of the vocabulary in {directory}")
    return replace(command, config=config)


def _with_section(arg: str) -> str:
    """Return a flag with its section, if one section alone has its key."""
    flag, equals, value = arg.partition("=")
    if not flag.startswith("--") or flag.removeprefix("--").replace("-", "_") in OWN_FLAGS:
        return arg
    section, dot, _ = _setting(flag.removeprefix("--").removeprefix("no-")).partition(".")
    if not dot or "." in flag:
        return arg
    return f"--{section}.{flag.removeprefix('--')}{equals}{value}"


def _setting(name: str) -> str:
    """Return the name of a setting, "training.batch_tokens" for "batch-tokens".

    Raises:
        UsageError: Several sections have the key.
    """
    key = name.strip().replace("-", "_")
    found = [f"{section}.{key}" for section, keys in SECTIONS.items() if key in keys]
    if len(found) > 1:
        flags = " or ".join("--" + setting.replace("_", "-") for setting in found)
        raise UsageError(f"{name} is ambiguous: write {flags}")
    return found[0] if found else key


def _keys(section: Any) -> set[str]:
    return {entry.name for entry in dataclasses.fields(section)}


OWN_FLAGS = _keys(Train) - {"preset"}
SECTIONS = {section.name: _keys(section.type) for section in dataclasses.fields(RunConfig)}
SECTIONS["model"].add("preset")
