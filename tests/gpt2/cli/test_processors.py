"""The verbs on processors that lack what the one at hand may have."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gpt2 import devices
from gpt2.cli.main import main
from gpt2.config import RunConfig
from gpt2.files.pretrained import GPT2
from gpt2.train.metrics import read_metrics

RECIPE = """
[model]
vocab_size = 300
n_positions = 32
n_embd = 32
n_layer = 2
n_head = 2
[training]
steps = 4
batch_tokens = 128
micro_batch = 4
[optimizer]
kind = "normuon"
[evaluation]
every = 2
"""
# What makes torch, oneDNN and MKL take their paths for a processor with AVX2 alone.
AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}


# Operations that move numbers, and compute nothing.
READING = {"_to_copy", "copy_", "empty", "detach", "t", "view", "slice", "set_", "alias"}
PACKING = {"new_empty", "lift_fresh", "fill_", "embedding", "transpose", "select"}
PACKING |= {"to", "constant_pad_nd", "clone", "as_strided", "split", "unsqueeze", "index"}


class Bfloat16Watch(TorchDispatchMode):
    """Notes the operations that read or write bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves((args, kwargs, result)):
            if isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16:
                self.seen.add(func.overloadpacket.__name__)
        return result


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    some = ["The return value is a string. " * 20 + f"Number {i}." for i in range(40)]
    monkeypatch.setattr("gpt2.prepare.stdlib_docs.stdlib_docs", lambda: some)
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Say how many times as fast as float32 every other arithmetic is here."""

    def arrange(speed: float) -> None:
        monkeypatch.setattr(devices, "speed_beside_float32", lambda dtype, device: speed)

    return arrange


def test_no_default_computes_in_bfloat16_where_that_is_slow(
    recipe: Path, tmp_path: Path, measured: Callable[[float], None], model: GPT2
) -> None:
    measured(0.01)
    run, stored = tmp_path / "run", tmp_path / "stored"
    model.to(torch.bfloat16).save_pretrained(stored)
    text = tmp_path / "text.txt"
    text.write_text("Permission is granted.", encoding="utf-8")
    demo = ["demo", "--recipe", str(recipe), "--out", str(run)]
    with Bfloat16Watch() as watch:
        assert main(demo) == 0
        assert main(["train", "--resume", str(run)]) == 0
        assert (
            main(["train", "--recipe", str(recipe), "--directory", f"{run}/data", "--dry-run"]) == 0
        )
        lengths = ["--lengths", "8", "--rounds", "1"]
        assert main(["bench", "attention", "--model", str(run), *lengths]) == 0
    assert not watch.seen
    assert RunConfig.from_toml(run / "config.toml").training.dtype == "float32"

    with Bfloat16Watch() as watch:
        for args in (
            ["generate", "Permission", "--max-new-tokens", "3"],
            ["eval", "perplexity", "--data", str(text)],
            ["plot", "attention", "--text", "Permission", "--out", str(tmp_path / "a.png")],
        ):
            assert main([*args, "--model", str(stored)]) == 0
    # The weights, stored in bfloat16, are read, laid out, and turned into float32.
    assert "_to_copy" in watch.seen
    assert watch.seen <= READING | PACKING, watch.seen - READING - PACKING


def test_bfloat16_is_the_default_where_it_is_fast(
    recipe: Path, tmp_path: Path, measured: Callable[[float], None]
) -> None:
    measured(4.0)
    with Bfloat16Watch() as watch:
        assert main(["demo", "--recipe", str(recipe), "--out", str(tmp_path / "run")]) == 0
    assert {"addmm", "baddbmm"} <= watch.seen  # the model's products, and the optimizer's
    assert RunConfig.from_toml(tmp_path / "run/config.toml").training.dtype == "bfloat16"


def test_a_slow_arithmetic_that_is_asked_for_is_told_in_one_line(
    recipe: Path,
    shards: Path,
    tmp_path: Path,
    measured: Callable[[float], None],
    model: GPT2,
    capsys: pytest.CaptureFixture[str],
) -> None:
    measured(0.01)
    model.save_pretrained(tmp_path / "model")
    told = "bfloat16 products take 100 times as long as float32 ones on this CPU"
    flags = ["--recipe", str(recipe), "--directory", str(shards), "--dtype", "bfloat16"]
    of_demo = tmp_path / "of_demo.toml"
    of_demo.write_text(RECIPE.replace("[training]", "[training]\ndtype = 'bfloat16'"))
    generate = ["generate", "Permission", "--model", str(tmp_path / "model"), "--dtype", "bfloat16"]
    generate += ["--attention", "manual"]  # the compiled pass reads bfloat16 fast on any processor
    for args in (
        ["train", *flags, "--dry-run"],
        ["train", *flags, "--out", str(tmp_path / "run")],
        ["train", "--resume", str(tmp_path / "run"), "--steps", "6", "--allow-changes", "steps"],
        [*generate, "--max-new-tokens", "2"],
        ["demo", "--recipe", str(of_demo), "--out", str(tmp_path / "demo")],
    ):
        assert main(args) == 0
        assert capsys.readouterr().err.count(told) == 1, args


@pytest.mark.skipif(not torch.backends.mkl.is_available(), reason="needs MKL's switch")
def test_the_demo_runs_as_on_a_processor_with_avx2_alone(recipe: Path, tmp_path: Path) -> None:
    program = (
        "from gpt2.prepare import stdlib_docs\n"
        "stdlib_docs.stdlib_docs = lambda: [f'The value is {i}. ' * 30 for i in range(40)]\n"
        "from gpt2.cli.main import main\n"
        f"raise SystemExit(main(['demo', '--recipe', {str(recipe)!r}, '--out', 'run']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=os.environ | AVX2,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    settings = RunConfig.from_toml(tmp_path / "run/config.toml")
    assert settings.training.dtype == "float32"
    losses = [row["loss"] for row in read_metrics(tmp_path / "run") if "loss" in row]
    assert len(losses) == 4
    assert losses[-1] < losses[0]
