"""`gpt2 demo`: the whole job on text that ships with Python, from docstrings to samples.

Each stage finds what an earlier start has finished, so that an interrupted demo can continue.
"""

import dataclasses
import json
import math
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from gpt2.cli.parsing import parse
from gpt2.cli.streams import printable
from gpt2.config import (
    SETTINGS_FILE,
    DataConfig,
    GenerationConfig,
    PrepareConfig,
    RunConfig,
    recipe_path,
)
from gpt2.errors import ConfigError
from gpt2.files.run_directory import REPORT_FILE
from gpt2.progress import log

PROMPT = "The return value is"
SAMPLING = GenerationConfig(max_new_tokens=80, temperature=0.8, top_k=50, seed=0)
HOLD_OUT = PrepareConfig(hold_out=0.1)
MOST_MINUTES = 24 * 60
PLAN_FILE, LOCK_FILE = "demo.json", ".demo.lock"  # of a run directory


@dataclass(frozen=True)
class Plan:
    """How many steps the demo takes, and why."""

    minutes: float  # to train, evaluations included
    most_steps: int  # of the recipe
    steps: int
    seconds_a_step: float  # measured over the first ones

    @property
    def is_whole(self) -> bool:
        """Whether every number is one that a demo can have, as a file may hold anything."""
        counts, times = (self.steps, self.most_steps), (self.minutes, self.seconds_a_step)
        return all(type(count) is int and count >= 1 for count in counts) and all(
            type(time) in (int, float) and 0 < time < math.inf for time in times
        )

    def __str__(self) -> str:
        if self.steps == self.most_steps:
            return f"{self.steps} steps, all of the recipe's: {self.minutes:g} minutes allow them"
        return (
            f"{self.steps} of the recipe's {self.most_steps} steps: as many as fit into "
            f"{self.minutes:g} minutes at {self.seconds_a_step:.2f} s a step"
        )


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Learn a tokenizer, train a small GPT-2, measure it, and write samples: a few minutes."""

    out: Path = Path("runs/demo")
    """Run directory; its data go into the folder data inside."""
    recipe: str = "demo"
    """Settings of the model and its training: a bundled recipe, or the path of a TOML file."""
    minutes: float = 4.0
    """Minutes to train, evaluations included: the steps are as many as fit, by the pace of the
    first ones, and at most those of the recipe. The rest of the demo takes up to a minute more."""

    def __post_init__(self) -> None:
        if not 0 < self.minutes <= MOST_MINUTES:
            raise ConfigError(
                f"minutes must be above 0 and at most {MOST_MINUTES}, got {self.minutes}"
            )

    def run(self) -> None:
        """Run every stage that is not done yet, and print the outcome."""
        started = time.perf_counter()
        config = RunConfig.from_toml(recipe_path(self.recipe))
        config = replace(
            config, data=DataConfig(directory=self.out / "data", seed=config.data.seed)
        )
        with _alone_in(self.out):
            if config.training.init_from is not None:
                from gpt2.train.settings import with_shape_of_init_from

                config = with_shape_of_init_from(config)  # as the run saves it
            prepare_text(config)
            plan = _train(config, self.out, self.minutes)
            _report(config, self.out, plan)
        # Where the environment is not activated, a shell does not find gpt2 by its name.
        started_as_gpt2 = Path(sys.argv[0]).name == "gpt2"
        path = [sys.argv[0]] if started_as_gpt2 else [sys.executable, "-m", "gpt2"]
        gpt2 = shlex.join(["gpt2"] if shutil.which("gpt2") else path)
        print(f"\nDone in {time.perf_counter() - started:.0f} s. Next, try:\n")
        out, report = (shlex.quote(str(path)) for path in (self.out, self.out / REPORT_FILE))
        print(f'  {gpt2} generate "{PROMPT}" --model {out}')
        print(f"  {gpt2} eval perplexity --model {out} --data {report}")
        print(f'  {gpt2} plot attention --text "{PROMPT}" --model {out} --force')
        print(f"  {gpt2} plot positions --model {out} --force")
        print(f"  {gpt2} serve --model {out}")


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    parse(Demo, args, verb="demo").run()


@contextmanager
def _alone_in(run: Path) -> Iterator[None]:
    """Keep other demos out of a run directory while the context lasts.

    Raises:
        ConfigError: It is no directory, or another demo is at work there.
    """
    from filelock import FileLock, Timeout

    if run.exists() and not run.is_dir():
        raise ConfigError(f"--out must be a directory, {run} is a file; choose another")
    run.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(run / LOCK_FILE, timeout=0):
            yield
    except Timeout:
        raise ConfigError(f"another demo is at work in {run}: wait for it") from None


def prepare_text(config: RunConfig) -> None:
    """Collect the text, learn the vocabulary, and write the shards."""
    import numpy as np

    from gpt2.data.manifest import MANIFEST_FILE
    from gpt2.prepare.hold_out import held_out
    from gpt2.prepare.pipeline import prepare
    from gpt2.prepare.sources import STDLIB_DOCS, in_memory
    from gpt2.prepare.stdlib_docs import stdlib_docs
    from llm_tokenizer import Tokenizer

    directory = config.data.directory
    if (directory / MANIFEST_FILE).exists():
        log(f"Text is prepared in {directory}")
        return
    log("Collecting the documentation that ships with Python")
    documents = stdlib_docs()
    apart = held_out(np.arange(len(documents)), HOLD_OUT.hold_out, HOLD_OUT.seed)
    train = [text for text, held in zip(documents, apart, strict=True) if not held]
    val = [text for text, held in zip(documents, apart, strict=True) if held]
    log(
        f"{len(train)} documents to train on, {sum(map(len, train)) / 1e6:.2f} million characters; "
        f"{len(val)} held out, {sum(map(len, val)) / 1e6:.2f} million"
    )
    log(f"Learning a vocabulary of {config.model.vocab_size} tokens")
    tokenizer = Tokenizer.train(train, config.model.vocab_size)
    manifest = prepare(in_memory(STDLIB_DOCS, documents), tokenizer, directory, HOLD_OUT)
    tokens = sum(shard.tokens for shard in manifest.shards)
    log(f"Wrote {tokens:,} tokens to {directory}")


def _train(config: RunConfig, run: Path, minutes: float) -> Plan:
    """Take the steps that fit into the time, or those that are left of an earlier start."""
    from gpt2.files.run_directory import list_checkpoints
    from gpt2.train.run import resume, start
    from llm_tokenizer.atomic import write_whole

    if (run / SETTINGS_FILE).exists():
        plan, config = _continued(config, run, minutes)
        log(f"Continuing the run in {run}")
        with _mentioning_the_demo():
            resume(run, config)
        return plan
    if list_checkpoints(run):
        raise ConfigError(
            f"{run} holds checkpoints without their {SETTINGS_FILE}; choose another --out"
        )
    plan = _measured_plan(config, minutes)
    write_whole(run / PLAN_FILE, json.dumps(dataclasses.asdict(plan)).encode())
    log(f"Training for {plan}; Ctrl-C saves, and the same command continues")
    with _mentioning_the_demo():
        start(replace(config, training=replace(config.training, steps=plan.steps)), run)
    return plan


@contextmanager
def _mentioning_the_demo() -> Iterator[None]:
    """If the run is interrupted, log how the demo continues: the error is about the run alone."""
    from gpt2.train.interruption import InterruptedRunError

    try:
        yield
    except InterruptedRunError:
        log("The same gpt2 demo command continues the demo, its report and samples included")
        raise


def _measured_plan(config: RunConfig, minutes: float) -> Plan:
    from gpt2.train.pace import measure_pace

    log("Measuring the pace of the first steps")
    pace, most = measure_pace(config), config.training.steps
    return Plan(minutes, most, min(most, pace.steps_within(60 * minutes, config)), pace.step)


def _continued(config: RunConfig, run: Path, minutes: float) -> tuple[Plan, RunConfig]:
    """Return the plan of an earlier start, and the settings to continue it with.

    Raises:
        ConfigError: The run has other settings, or its plan cannot be read.
    """
    from gpt2.train.changes import describe_changes

    plan = _read_plan(run)
    saved = RunConfig.from_toml(run / SETTINGS_FILE)
    training = replace(config.training, steps=plan.steps)  # as the earlier start has measured
    if training.dtype == "auto":
        training = replace(training, dtype=saved.training.dtype)
    continued = replace(config, training=training)
    differences = saved.differences(continued)
    # The folder may have moved; what is kept of the model changes nothing of it.
    for name in ("data.directory", "history.moments", "history.text"):
        differences.pop(name, None)
    if plan.minutes != minutes:
        differences["--minutes"] = plan.minutes, minutes
    if plan.most_steps != config.training.steps:
        differences["training.steps of the recipe"] = plan.most_steps, config.training.steps
    if differences:
        raise ConfigError(
            f"{run} holds a demo with other settings: {describe_changes(differences)}; put them "
            "back, or choose another --out"
        )
    return plan, continued


def _read_plan(run: Path) -> Plan:
    try:
        plan = Plan(**json.loads((run / PLAN_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        plan = None
    if plan is None or not plan.is_whole:
        raise ConfigError(
            f"{run / PLAN_FILE} is missing or damaged, so the demo cannot continue; the run can, "
            f"with: gpt2 train --resume {shlex.quote(str(run))}"
        )
    return plan


def _report(config: RunConfig, run: Path, plan: Plan) -> None:
    """Measure the held-out text, draw samples, and write and print the outcome."""
    from gpt2 import devices
    from gpt2.data.shard_folder import open_shards
    from gpt2.evaluate.baselines import compare
    from gpt2.files.pretrained import GPT2
    from gpt2.generation.generate import generate
    from gpt2.train.page import PAGE_FILE
    from gpt2.train.report import NORMAL, write_report

    log("Measuring the held-out text")
    data = open_shards(config.data.directory)
    device = devices.select_device(config.training.device)
    untrained = GPT2(config.model, tokenizer=data.tokenizer, seed=config.training.seed).to(device)
    trained = GPT2.from_pretrained(run, device=device)
    used = RunConfig.from_toml(run / SETTINGS_FILE).training.dtype
    comparison = compare(trained, data, dtype=devices.DTYPES[used])
    before, after = (generate(model, [PROMPT], SAMPLING)[0] for model in (untrained, trained))
    sections = [
        f"## Length\n\n{plan}.",
        f"## Held-out text\n\nRead in windows that overlap by half:\n\n{comparison.to_markdown()}",
        f"## A sample before training\n\n```text\n{PROMPT}{printable(before.text)}\n```",
        f"## A sample after training\n\n```text\n{PROMPT}{printable(after.text)}\n```",
    ]
    references = {"unigram": comparison.unigram_nats}
    verdict = write_report(run, sections=sections, references=references)
    print("\n\n".join([*sections, f"## {NORMAL}\n\n{verdict.line}"]))
    print(f"\nThe report, with the loss picture, is {run / REPORT_FILE}")
    if (run / PAGE_FILE).exists():
        print(f"Pictures, and how training changed them: open {run / PAGE_FILE} in a browser")
