"""`gpt2 bench train`: its settings, its table and its JSON; the steps themselves are not taken."""

import json
from pathlib import Path
from typing import Any

import pytest

from gpt2.bench import training
from gpt2.bench.training import Peaks
from gpt2.bench.training_engines import Job, Times
from gpt2.cli.bench import Train
from gpt2.cli.main import main

RECIPE = """
[model]
vocab_size = 300
n_positions = 32
n_embd = 32
n_layer = 2
n_head = 2
[training]
batch_tokens = 512
micro_batch = 8
short_context = 16
dtype = "float32"
compile = true
[optimizer]
kind = "normuon"
"""
PARTS = {
    "gpt2": {"attention": 0.25, "MLP": 0.5, "head and loss": 0.25},
    "nanogpt-like": {"attention": 0.5, "MLP": 0.5, "head and loss": 1.0, "other": 2.0},
    "transformers": {},
}
SECONDS = {"gpt2": 1.0, "nanogpt-like": 4.0, "transformers": 2.0}


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return str(path)


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """What would run, each engine in a known time."""
    asked: list[Job] = []

    def run(job: Job) -> Times:
        asked.append(job)
        return Times(
            step_seconds=SECONDS[job.engine],
            parts=PARTS[job.engine],
            peak_memory_bytes=2**30,
            loss=5.5,
        )

    peaks = Peaks(device="a CPU, 2 threads", product_flops=1e10, read_bandwidth=2e10)
    monkeypatch.setattr(training, "_run", run)
    monkeypatch.setattr(training, "measure_peaks", lambda *_: peaks)
    return asked


def test_a_table_shows_the_peaks_the_engines_and_the_parts(
    recipe: str, jobs: list[Job], capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["bench", "train", "--recipe", recipe, "--rounds", "2", "--threads", "3"]
    assert main([*command, "--against", "nanogpt-like"]) == 0
    assert [job.engine for job in jobs] == ["gpt2", "nanogpt-like"] * 2  # in turn
    assert {job.threads for job in jobs} == {3}
    machine, model, conditions, header, ours, peer, blank, _, names, *parts = (
        capsys.readouterr().out.splitlines()
    )
    assert machine == "# a CPU, 2 threads: products float32 10 GFLOP/s; reads 20.0 GB/s"
    assert "2 layers of 32 channels; 8 x 32 tokens a step; medians of 2" in model
    assert "all in float32" in conditions and "normuon" in conditions
    assert header.split()[:2] == ["engine", "tokens/s"]
    assert ours.split()[:3] == ["gpt2", "256", "1.0000"]
    assert peer.split()[:3] == ["nanogpt-like", "64", "4.0000"]
    assert peer.split()[4:] == ["4.00x", "1,024", "MB"]
    assert blank == "" and names.split() == ["part", "gpt2", "nanogpt-like"]
    assert [line.split() for line in parts] == [
        ["attention", "0.2500", "(0.250)", "0.5000", "(0.125)"],
        ["MLP", "0.5000", "(0.500)", "0.5000", "(0.125)"],
        ["head", "and", "loss", "0.2500", "(0.250)", "1.0000", "(0.250)"],
        ["other", "2.0000", "(0.500)"],
        ["together", "1.0000", "(1.000)", "4.0000", "(1.000)"],
    ]


@pytest.mark.usefixtures("jobs")
def test_json_has_an_object_an_engine(recipe: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("transformers")
    command = ["bench", "train", "--recipe", recipe, "--json", "--against"]
    assert main([*command, "transformers,nanogpt-like"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["engine"] for row in rows] == ["gpt2", "transformers", "nanogpt-like"]
    assert [row["ours_times_as_fast"] for row in rows] == [None, 2.0, 4.0]
    assert rows[2]["parts"] == PARTS["nanogpt-like"]
    assert rows[0]["peaks"]["product_flops"] == 1e10
    assert rows[0]["dtype"] == "float32"


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], (12, 4, 1024, "auto", False)),
        (["--model.preset", "gpt2-medium", "--rows", "2"], (24, 2, 1024, "auto", False)),
        (["--recipe", "demo"], (4, 32, 128, "auto", False)),
        (["--recipe", "RECIPE"], (2, 8, 32, "float32", False)),
        (
            ["--recipe", "RECIPE", "--length", "16", "--dtype", "bfloat16", "--compile"],
            (2, 8, 16, "bfloat16", True),
        ),
    ],
)
def test_the_flags_choose_the_model_and_the_rows(
    recipe: str, jobs: list[Job], flags: list[str], expected: tuple[Any, ...]
) -> None:
    flags = [recipe if flag == "RECIPE" else flag for flag in flags]
    assert main(["bench", "train", "--rounds", "1", "--device", "cpu", *flags]) == 0
    model, run = jobs[0].settings["model"], jobs[0].settings["training"]
    layers, rows, length, dtype, compiled = expected
    assert (model["n_layer"], model["n_positions"]) == (layers, length)
    assert (run["micro_batch"], run["batch_tokens"]) == (rows, rows * length)
    assert run["compile"] is compiled
    assert run["dtype"] in (dtype, *(("float32", "bfloat16") if dtype == "auto" else ()))
    assert model["embd_pdrop"] == (0.1 if recipe in flags else 0.0)


def test_the_context_is_whole_and_the_other_settings_are_those_of_the_recipe(recipe: str) -> None:
    config = Train(recipe=recipe).settings()
    assert config.optimizer.kind == "normuon"
    assert config.training.short_context is None


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--rows", "0"], 2, "rows must be at least 1, got 0"),
        (["--rounds", "-1"], 2, "rounds must be at least 1, got -1"),
        (["--threads", "0"], 2, "threads must be at least 1, got 0"),
        (["--dtype", "float8"], 2, "float8"),
        (["--length", "99999"], 1, "n_positions must be 1 to 65536, got 99999"),
        (["--recipe", "nowhere"], 1, "there is no recipe 'nowhere'"),
        (["--model.preset", "gpt3"], 1, "unknown preset 'gpt3'"),
        (["--against", "jax"], 1, "against must be of transformers, nanogpt-like, got jax"),
        (["--device", "tpu"], 1, "device must be auto or one of those here"),
    ],
)
def test_a_wrong_flag_is_one_line(
    flags: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "train", *flags]) == code
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
