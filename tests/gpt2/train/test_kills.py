"""A run that is killed, again and again, ends as if it had not been."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gpt2.config import HistoryConfig, RunConfig

pytestmark = [
    pytest.mark.kills,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork"),
]

# Forked children need no second import of torch; it has started no thread before they are.
CHILDREN = """
import os, random, shutil, signal, sys, time
from pathlib import Path
from types import SimpleNamespace
import torch
torch.set_num_threads(1)
import gpt2.devices
from gpt2.config import HistoryConfig, RunConfig
from gpt2.train import run as training
gpt2.devices.peak_flops = lambda device, dtype: None  # measured for a quarter of a second
training.write_page = lambda run: None  # it takes a second each time
recipe, run, whole = map(Path, sys.argv[1:])
config = RunConfig.from_toml(recipe)

def begin(before=lambda: None):
    child = os.fork()
    if child == 0:
        before()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            if (run / "config.toml").exists():
                training.resume(run)
            else:
                training.start(config, run)
        except BaseException as error:
            print("failed:", repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    return child

def ended(child):
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 1:
        raise SystemExit("a run was lost")
    return status == 0

began = time.perf_counter()
assert ended(begin())
seconds = time.perf_counter() - began
run.rename(whole)
"""

AT_RANDOM_MOMENTS = (
    CHILDREN
    + """
random.seed(0)
kills = 0
while kills < 50:
    child = begin()
    time.sleep(random.uniform(0, seconds / 4))
    os.kill(child, signal.SIGKILL)
    if not ended(child):
        kills += 1
    elif kills < 50:
        shutil.rmtree(run)
while not ended(begin()):
    pass
print(kills)
"""
)

AT_EVERY_CALL = (
    CHILDREN
    + """
def files(run):
    newest = sorted((run / "checkpoints").glob("step_*"))[-1]
    return [(newest / f"{name}.safetensors").read_bytes() for name in ("model", "training_state")]

verdict = SimpleNamespace(line="normal")
training.write_report = lambda *args, **options: verdict  # a report takes a second each time
expected, calls = files(whole), 0
while not ended(begin(lambda: dies_at(calls))):
    assert ended(begin())
    assert files(run) == expected, calls
    shutil.rmtree(run)
    calls += 7  # each one takes minutes
print(calls)
"""
)


def run_killed(program: str, config: RunConfig, directory: Path) -> int:
    """Run a program, which leaves a run without kills in "whole", one with them in "run"."""
    recipe = directory / "recipe.toml"
    recipe.write_text(config.to_toml())
    args = [sys.executable, "-c", program, recipe, directory / "run", directory / "whole"]
    done = subprocess.run(args, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return int(done.stdout.split()[-1])


def test_50_kills_at_random_moments_lose_no_run_and_change_no_bit(
    config: RunConfig, tmp_path: Path, assert_same_run: Callable[[Path, Path], None]
) -> None:
    config = replace(
        config,
        training=replace(config.training, steps=30),
        checkpoint=replace(config.checkpoint, every=1, keep_last=2),
        history=HistoryConfig(moments=20),
    )
    assert run_killed(AT_RANDOM_MOMENTS, config, tmp_path) == 50
    assert_same_run(tmp_path / "whole", tmp_path / "run")
    moments = sorted((tmp_path / "whole/moments").iterdir())
    assert len(moments) > 10
    for moment in moments:
        assert (tmp_path / "run/moments" / moment.name).read_bytes() == moment.read_bytes()


def test_a_kill_at_every_seventh_call_that_makes_a_file_lasting_changes_no_bit(
    config: RunConfig, tmp_path: Path, dies_at: str
) -> None:
    config = replace(
        config,
        training=replace(config.training, steps=2),
        checkpoint=replace(config.checkpoint, every=1, keep_last=1),
    )
    assert run_killed(dies_at + AT_EVERY_CALL, config, tmp_path) > 40
