"""The verbs, on a small scale, in the order a user would run them."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from gpt2.bench import generation
from gpt2.bench.engines import Job, Times
from gpt2.cli import verbs
from gpt2.cli.main import main
from gpt2.config import RECIPES, RunConfig
from gpt2.errors import ConfigError
from gpt2.files.pretrained import GPT2
from gpt2.files.run_directory import newest_checkpoint
from gpt2.train.metrics import read_metrics
from gpt2.train.pace import Pace

ROOT = Path(__file__).parents[3]
SMALL = {
    "model": {"vocab_size": 300, "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 2},
    "training": {"steps": 4, "batch_tokens": 128, "micro_batch": 4},
    "evaluation": {"every": 2, "val_tokens": 256},
    "checkpoint": {"every": 2},
}


@pytest.fixture
def small_recipe(tmp_path: Path) -> Path:
    sections = (
        "\n".join([f"[{name}]", *(f"{key} = {value}" for key, value in keys.items())])
        for name, keys in SMALL.items()
    )
    path = tmp_path / "small.toml"
    path.write_text("\n".join(sections), encoding="utf-8")
    return path


def test_the_demo_does_the_whole_job_and_its_next_commands_work(
    small_recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    some = ["The return value is a string. " * 20 + f"Number {i}." for i in range(40)]
    monkeypatch.setattr("gpt2.prepare.stdlib_docs.stdlib_docs", lambda: some)
    monkeypatch.chdir(tmp_path)
    small_recipe.write_text(f"{small_recipe.read_text()}\n[history]\nmoments = 3\n")
    demo = ["demo", "--recipe", str(small_recipe)]

    assert main(demo) == 0

    printed = capsys.readouterr().out
    page = Path("runs/demo/gallery.html")
    assert f"open {page} in a browser" in printed
    assert 'id="run"' in page.read_text(encoding="utf-8")
    report = (tmp_path / "runs/demo/report.md").read_text(encoding="utf-8")
    for row in ("uniform bytes | | 8.000", "unigram, the same", "xz -9 after", "this GPT-2"):
        assert row in printed
        assert row in report
    assert "4 steps, all of the recipe's: 4 minutes allow them." in report
    assert "## A sample before training" in report
    assert "## A sample after training" in report
    assert (tmp_path / "runs/demo/loss.png").exists()
    *commands, serve = re.findall(r"^  .*?gpt2 (.*)$", printed, re.MULTILINE)
    assert len(commands) == 4
    assert serve == "serve --model runs/demo"  # tests/gpt2/cli/test_serve.py
    for command in commands:
        args = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', command)]
        for _ in range(2):
            assert main(args) == 0, command
    capsys.readouterr()

    assert main(demo) == 0  # a second time there is nothing left to train
    captured = capsys.readouterr()
    assert "this GPT-2" in captured.out
    assert "Continuing the run" in captured.err
    assert len([row for row in read_metrics(tmp_path / "runs/demo") if "loss" in row]) == 4

    assert main([*demo, "--minutes", "3"]) == 1
    told = "holds a demo with other settings: --minutes was 4.0, is 3.0; put them back"
    assert told in capsys.readouterr().err
    small_recipe.write_text(small_recipe.read_text().replace("steps = 4", "steps = 5"))
    assert main(demo) == 1  # a recipe that has changed since is not passed over
    assert "holds a demo with other settings" in capsys.readouterr().err


def test_the_demo_takes_the_steps_that_fit_into_its_minutes_and_keeps_their_number(
    small_recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    signal_after: Callable[[int], None],
) -> None:
    some = ["The return value is a string. " * 20 + f"Number {i}." for i in range(40)]
    monkeypatch.setattr("gpt2.prepare.stdlib_docs.stdlib_docs", lambda: some)
    # 2 s a step, and 2 s an evaluation every second step and after the last: 10 s for 3 steps.
    monkeypatch.setattr("gpt2.train.pace.measure_pace", lambda config: Pace(2.0, 2.0))
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    demo = ["demo", "--recipe", str(small_recipe), "--minutes", "0.17", "--out"]
    length = "3 of the recipe's 4 steps: as many as fit into 0.17 minutes at 2.00 s a step"

    assert main([*demo, str(whole)]) == 0
    assert f"Training for {length}; Ctrl-C" in capsys.readouterr().err
    assert RunConfig.from_toml(whole / "config.toml").training.steps == 3
    signal_after(1)
    assert main([*demo, str(stopped)]) == 143
    assert newest_checkpoint(stopped).name == "step_00000001"

    monkeypatch.setattr("gpt2.train.pace.measure_pace", lambda config: Pace(9.0, 9.0))
    assert main([*demo, str(stopped)]) == 0  # goes by what the first start has measured
    assert f"{length}." in (stopped / "report.md").read_text(encoding="utf-8")
    weights = [newest_checkpoint(run) / "model.safetensors" for run in (whole, stopped)]
    assert weights[0].name == weights[1].name
    assert weights[0].read_bytes() == weights[1].read_bytes()

    longer = ["--steps", "4", "--allow-changes", "training.steps"]
    assert main(["train", "--resume", str(stopped), *longer]) == 0
    assert main([*demo, str(stopped)]) == 1  # it is no longer the run of the plan
    assert "other settings: training.steps was 4, is 3" in capsys.readouterr().err

    moved = whole.rename(tmp_path / "another place")
    assert main([*demo, str(moved)]) == 0
    assert f"--model '{moved}'" in capsys.readouterr().out


def test_a_demo_that_starts_from_another_model_continues(
    small_recipe: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    signal_after: Callable[[int], None],
) -> None:
    some = ["The return value is a string. " * 20 + f"Number {i}." for i in range(40)]
    monkeypatch.setattr("gpt2.prepare.stdlib_docs.stdlib_docs", lambda: some)
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--recipe", str(small_recipe), "--out", "base"]) == 0
    # The shape is that of the model it starts from, whatever the recipe has.
    text = small_recipe.read_text().replace("n_layer = 2", "n_layer = 1")
    other = tmp_path / "from_base.toml"
    other.write_text(text.replace("[training]", '[training]\ninit_from = "base"'))
    demo = ["demo", "--recipe", str(other), "--out"]
    for _ in range(2):
        assert main([*demo, "whole"]) == 0
        assert "this GPT-2" in capsys.readouterr().out
    assert RunConfig.from_toml(Path("whole/config.toml")).model.n_layer == 2

    monkeypatch.setattr("gpt2.train.pace.measure_pace", lambda config: Pace(0.01, 0.01))
    signal_after(1)
    assert main([*demo, "stopped"]) == 143
    assert main([*demo, "stopped"]) == 0
    weights = [newest_checkpoint(Path(run)) / "model.safetensors" for run in ("whole", "stopped")]
    assert weights[0].name == weights[1].name
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.parametrize(
    "plan",
    [
        None,
        "",
        "[]",
        "null",
        '{"minutes": 4.0}',
        '{"minutes": 4.0, "most_steps": 4, "steps": null, "seconds_a_step": 1.0}',
        '{"minutes": 4.0, "most_steps": 4, "steps": 0, "seconds_a_step": 1.0}',
        '{"minutes": 4.0, "most_steps": 4, "steps": 4, "seconds_a_step": "1"}',
        '{"minutes": 4.0, "most_steps": 4, "steps": 4, "seconds_a_step": NaN}',
    ],
)
def test_a_demo_whose_plan_is_damaged_says_how_its_run_goes_on(
    plan: str | None, small_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    (run / "data").mkdir(parents=True)
    (run / "data/manifest.json").touch()
    (run / "config.toml").write_text(small_recipe.read_text(), encoding="utf-8")
    if plan is not None:
        (run / "demo.json").write_text(plan, encoding="utf-8")
    assert main(["demo", "--recipe", str(small_recipe), "--out", str(run)]) == 1
    told = capsys.readouterr().err
    assert "demo.json is missing or damaged" in told
    assert f"with: gpt2 train --resume {run}" in told


def test_a_demo_is_refused_where_it_cannot_be_before_it_does_anything(
    small_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    demo = ["demo", "--recipe", str(small_recipe), "--out", str(run)]
    run.touch()
    assert main(demo) == 1
    assert f"--out must be a directory, {run} is a file" in capsys.readouterr().err
    run.unlink()
    (run / "data").mkdir(parents=True)
    (run / "data/manifest.json").touch()
    with FileLock(run / ".demo.lock"):
        assert main(demo) == 1
    assert f"another demo is at work in {run}" in capsys.readouterr().err
    (run / "checkpoints/step_00000001").mkdir(parents=True)
    assert main(demo) == 1
    assert f"{run} holds checkpoints without their config.toml" in capsys.readouterr().err
    assert not (run / "demo.json").exists()


@pytest.mark.parametrize("minutes", ["nan", "0", "-1", "inf"])
def test_the_minutes_of_the_demo_are_a_time(
    minutes: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", f"--minutes={minutes}"]) == 2
    assert "minutes must be above 0 and at most 1440, got" in capsys.readouterr().err


def test_text_is_prepared_trained_on_and_resumed(
    small_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, data, run = tmp_path / "text.txt", tmp_path / "data", tmp_path / "run"
    text.write_text((ROOT / "LICENSE").read_text() * 2 + "\n\nend", encoding="utf-8")
    prepare = ["prepare", str(text), "--separator", r"\n\n", "--hold-out", "0.3"]
    assert main([*prepare, "--out", str(data)]) == 0
    assert capsys.readouterr().out == f"{data}\n"

    recipe = ["--recipe", str(small_recipe), "--model.vocab-size=50257"]
    flags = ["--data.directory", str(data), "--out", str(run), "--training.steps", "3"]
    assert main(["train", *recipe, *flags]) == 0
    assert capsys.readouterr().out == f"{run}\n"
    assert [row["step"] for row in read_metrics(run) if "loss" in row] == [1, 2, 3]

    assert main(["train", "--resume", str(run)]) == 0
    assert newest_checkpoint(run).name == "step_00000003"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--resume=run", "--recipe", "demo"], "give no recipe and no preset"),
        (["--resume=run", "--out", "other"], "give no --out"),
        (["--allow-changes", "data.seed"], "--allow-changes goes with --resume"),
    ],
    ids=str,
)
def test_flags_that_do_not_go_together_are_told(
    capsys: pytest.CaptureFixture[str], flags: list[str], told: str
) -> None:
    assert main(["train", *flags]) == 2
    assert told in capsys.readouterr().err


def test_a_run_of_a_recipe_goes_to_a_folder_of_its_name(
    small_recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []
    monkeypatch.setattr("gpt2.train.run.start", lambda config, run: started.append((config, run)))
    for recipe in ("overfit-one-batch", str(small_recipe)):
        assert main(["train", "--recipe", recipe]) == 0
    assert started == [
        (RunConfig.from_toml(RECIPES / "overfit-one-batch.toml"), Path("runs/overfit-one-batch")),
        (RunConfig.from_toml(small_recipe), Path("runs/small")),
    ]


def test_a_resumed_run_takes_flags_and_refuses_those_that_change_the_mathematics(
    shards: Path, small_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--directory", str(shards), "--out", str(tmp_path / "run"), "--steps", "3"]
    assert main(["train", "--recipe", str(small_recipe), *flags, "--max-hours=1e-9"]) == 0
    told = capsys.readouterr().err
    assert "its hours are over after step 1 of 3, which is saved; go on with: gpt2 train" in told
    assert "error" not in told

    resumed = ["train", "--resume", str(tmp_path / "run"), "--max-hours", "1"]
    assert main([*resumed, "--weight-decay", "0.5", "--micro-batch", "1"]) == 1
    told = capsys.readouterr().err
    assert "optimizer.weight_decay was 0.1, is 0.5" in told
    assert "training.micro_batch was 4, is 1" in told
    assert "accept that with --allow-changes optimizer.weight_decay" in told
    assert "--allow-changes optimizer.weight_decay,training.micro_batch" not in told
    allowed = ["--allow-changes", "optimizer.weight-decay"]
    assert main([*resumed, "--weight-decay", "0.5", "--micro-batch", "1", *allowed]) == 0
    assert newest_checkpoint(tmp_path / "run").name == "step_00000003"


def test_a_key_of_one_section_needs_no_section(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--batch-tokens", "9000", "--no-compile", "--data.seed=2"]) == 2
    assert "got 9000; the nearest that fit: 8192 or 16384" in capsys.readouterr().err
    for flag, one, other in (
        (["--seed", "5"], "--data.seed", "--training.seed"),
        (["--every=1"], "--evaluation.every", "--checkpoint.every"),
    ):
        assert main(["train", *flag]) == 2
        told = capsys.readouterr().err
        assert f"is ambiguous: write {one} or {other}" in told
    assert main(["train", "--preset", "gpt3"]) == 1
    assert "unknown preset 'gpt3'" in capsys.readouterr().err


def test_a_dry_run_tells_size_memory_and_time_and_writes_nothing(
    shards: Path, small_recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--recipe", str(small_recipe), "--out", str(tmp_path / "run"), "--dry-run"]
    assert main(["train", *flags, "--directory", str(shards)]) == 0
    told = capsys.readouterr().out
    parameters = GPT2(RunConfig.from_toml(small_recipe).model).num_parameters()
    for line in (
        f"parameters   {parameters:,}: 2 layers",
        "tokens       512",
        "training tokens in",
    ):
        assert line in told
    assert "moments" not in told
    for part in ("weights", "gradients", "optimizer", "activations", "together", "tokens/s"):
        assert part in told
    assert not (tmp_path / "run").exists()
    assert main(["train", *flags, "--directory", str(tmp_path), "--history.moments", "3"]) == 0
    told = capsys.readouterr().out
    assert "data         none: " in told
    assert "moments      3, each of less than 1 MB, of steps 0 to 4" in told


def test_a_preset_is_a_flag_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--model.preset", "gpt3"]) == 1
    assert "unknown preset 'gpt3'; known: gpt2, gpt2-medium" in capsys.readouterr().err


def test_bench_attention_prints_a_row_for_each_choice_and_length(
    model: GPT2, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model.save_pretrained(tmp_path)
    command = ["bench", "attention", "--model", str(tmp_path), "--lengths", "8,24", "--rounds", "1"]
    assert main(command) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert [line[:2] for line in lines] == [
        ["8", "flash"],
        ["8", "manual"],
        ["24", "flash"],
        ["24", "manual"],
    ]
    assert main([*command, "--per-block", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["attention"] for row in rows[:5]] == [
        "flash",
        "manual",
        *(f"manual in block {block}" for block in range(3)),
    ]


def test_bench_generate_prints_a_row_for_each_engine_dtype_and_batch(
    model: GPT2,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def times(job: Job) -> Times:
        return Times(
            first_token_seconds=[0.1, 0.2],
            decode_seconds=[2.0, 4.0],
            prefill_seconds=1.0,
            peak_memory_bytes=2**20,
        )

    machine = generation.Machine(
        processor="a CPU, 2 threads", threads=2, read_bandwidth=2e10, peak_flops={"float32": 1e11}
    )
    monkeypatch.setattr(generation, "_run", times)
    monkeypatch.setattr(generation, "measure_machine", lambda dtypes, threads: machine)
    model.save_pretrained(tmp_path)
    command = ["bench", "generate", "--model", str(tmp_path), "--dtypes", "float32,int8"]
    sizes = ["--batches", "1,3", "--prompt-tokens", "4", "--new-tokens", "5", "--rounds", "1"]
    command += [*sizes, "--against", "transformers"]

    assert main(command) == 0
    first, second, header, *lines = capsys.readouterr().out.splitlines()
    assert first == "# a CPU, 2 threads: reads 20.0 GB/s; products float32 100 GFLOP/s"
    assert second.startswith("# 4-token prompts, 5 new tokens, greedy; medians of 1")
    assert header.split()[:4] == ["engine", "dtype", "batch", "tokens/s"]
    assert [line.split()[:5] for line in lines] == [
        ["gpt2", "float32", "1", "2.0", "500.00"],
        ["gpt2", "float32", "3", "3.0", "1000.00"],
        ["gpt2", "int8", "1", "2.0", "500.00"],
        ["gpt2", "int8", "3", "3.0", "1000.00"],
        ["transformers", "float32", "1", "2.0", "500.00"],
        ["transformers", "float32", "3", "3.0", "1000.00"],
    ]
    assert main([*command, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["engine"], row["dtype"], row["batch"]) for row in rows[3:5]] == [
        ("gpt2", "int8", 3),
        ("transformers", "float32", 1),
    ]
    assert rows[0]["machine"]["read_bandwidth"] == 2e10
    assert rows[4]["ours_times_as_fast"] == 1.0


def test_a_model_runs_by_flags_in_any_backend_dtype_and_compiled(
    model: GPT2,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled: list[GPT2] = []
    monkeypatch.setattr(
        GPT2, "compile", lambda model: compiled.append(model)
    )  # how it compiles is tested elsewhere
    model.save_pretrained(tmp_path)
    command = ["generate", "Permission", "--model", str(tmp_path), "--temperature", "0"]
    assert main(command) == 0
    text = capsys.readouterr().out
    for flags in (["manual"], ["manual", "--attention-blocks", "0", "2"], ["flash", "--compile"]):
        assert main([*command, "--attention", *flags]) == 0
        assert capsys.readouterr().out == text
    assert len(compiled) == 1
    assert main([*command, "--dtype", "bfloat16"]) == 0
    assert main([*command, "--attention-blocks", "7"]) == 1
    assert "blocks must be 0 to 2, got [7]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rank", "local_rank", "printed"),
    [("0", "0", True), ("1", "1", False), ("8", "0", True), ("8", None, False), (None, None, True)],
)
def test_a_failure_of_all_ranks_is_printed_by_the_first_of_each_host(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    rank: str | None,
    local_rank: str | None,
    printed: bool,
) -> None:
    for name, value in (("RANK", rank), ("LOCAL_RANK", local_rank)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    monkeypatch.setattr(verbs, "SECONDS_TO_PRINT", 0)
    error = ConfigError("the settings differ")
    error.raised_on_every_rank = True
    assert verbs._failed(error, verbose=False) == 1
    assert capsys.readouterr().err == "error: the settings differ\n" * printed
    error.raised_on_every_rank = False
    verbs._failed(error, verbose=False)
    assert capsys.readouterr().err == "error: the settings differ\n"
