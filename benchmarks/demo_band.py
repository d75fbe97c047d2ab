"""Where the demo's loss ends: its recipe with five seeds at several lengths, for `gpt2 eval run`.

python benchmarks/demo_band.py [--lengths 900 450 200 100 300 600] [--seeds 5] [--dtype auto]

Each run is added to src/gpt2/recipes/demo-band.json when it ends; runs that are there already are
not repeated, so a stopped start continues. Remove the file after a change to the recipe.
"""

import argparse
import json
import platform
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from gpt2 import devices
from gpt2.cli.demo import prepare_text
from gpt2.config import (
    RECIPES,
    CheckpointConfig,
    DataConfig,
    EvaluationConfig,
    HistoryConfig,
    RunConfig,
)
from gpt2.data.manifest import read_manifest
from gpt2.train.metrics import read_metrics
from gpt2.train.normality.known_ranges import BAND_FILE, TRAINING_WINDOW
from gpt2.train.normality.nearest_recipe import settings_that_matter
from gpt2.train.run import start
from llm_tokenizer.atomic import write_whole

# Those of the recipe first, then those of slower machines, then what lies between.
LENGTHS = (900, 450, 200, 100, 300, 600)  # steps
EVERY = 25  # steps between evaluations, which change nothing of the training


def main() -> None:
    """Train what is missing, and write the file after each run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="steps")
    parser.add_argument("--seeds", type=int, default=5, help="from 0 on")
    parser.add_argument("--dtype", default="auto", help="of the matrix products")
    parser.add_argument("--data", type=Path, default=Path("runs/demo-band/data"))
    options = parser.parse_args()

    recipe = RunConfig.from_toml(RECIPES / "demo.toml")
    dtype = devices.name_dtype(devices.select_dtype(options.dtype, torch.device("cpu")))
    prepare_text(replace(recipe, data=DataConfig(directory=options.data)))
    band = read_or_begin(recipe, options.data)
    known = {(run["steps"], run["seed"], run["dtype"]) for run in band["runs"]}
    for seed in range(options.seeds):  # all lengths first, so that a stopped start has a band
        for steps in options.lengths:
            if (steps, seed, dtype) in known:
                continue
            config = replace(
                recipe,
                data=DataConfig(directory=options.data, seed=seed),
                training=replace(recipe.training, steps=steps, seed=seed, dtype=dtype),
                evaluation=EvaluationConfig(every=EVERY, val_tokens=recipe.evaluation.val_tokens),
                checkpoint=CheckpointConfig(every=steps, keep_best=False),
                history=HistoryConfig(),
            )
            evaluations = list(train(config))
            origin = {"steps": steps, "seed": seed, "dtype": dtype} | provenance()
            band["runs"].append(origin | {"evaluations": evaluations})
            write_whole(BAND_FILE, as_text(band).encode())
            print(f"{steps} steps, seed {seed}, {dtype}: {evaluations[-1]}", flush=True)


def read_or_begin(recipe: RunConfig, data: Path) -> dict[str, Any]:
    """Return what an earlier start has written, or a band without runs."""
    if BAND_FILE.exists():
        band: dict[str, Any] = json.loads(BAND_FILE.read_text(encoding="utf-8"))
        if band["settings"] != settings_of(recipe):
            raise SystemExit(f"{BAND_FILE} is of other settings of the recipe; remove it")
        return band
    held_out = read_manifest(data).of("val")
    tokens, size = (sum(getattr(s, name) for s in held_out) for name in ("tokens", "bytes"))
    return {
        "command": "python benchmarks/demo_band.py",
        "columns": ["step", "held-out loss", f"training loss, last {TRAINING_WINDOW} steps"],
        "settings": settings_of(recipe),
        "held_out_bytes_per_token": size / tokens,
        "runs": [],
    }


def settings_of(recipe: RunConfig) -> dict[str, Any]:
    """Return the recipe's settings that change a run, without its length."""
    settings = settings_that_matter(recipe)
    del settings["training.steps"]
    return settings


def train(config: RunConfig) -> Iterator[tuple[int, float, float]]:
    """Train a run, and yield the step and the losses of each evaluation, in nats a token."""
    with tempfile.TemporaryDirectory() as directory:
        run = Path(directory) / "run"
        start(config, run)
        rows = read_metrics(run)
    losses = [row["loss"] for row in rows if "loss" in row]
    for row in rows:
        if "val_loss" in row:
            step = row["step"]
            recent = mean(losses[max(0, step - TRAINING_WINDOW) : step])
            yield step, round(row["val_loss"], 4), round(recent, 4)


def provenance() -> dict[str, str]:
    """Return what made a run, and from which commit."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
    )
    return {
        "commit": commit.stdout.strip(),
        "processor": devices.describe(torch.device("cpu")),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def as_text(band: dict[str, Any]) -> str:
    """Return the band as JSON, a line a run."""
    runs = ",\n".join(json.dumps(run) for run in band["runs"])
    head = json.dumps(band | {"runs": []}, indent=1)
    return head.replace('"runs": []', f'"runs": [\n{runs}\n ]') + "\n"


if __name__ == "__main__":
    main()
