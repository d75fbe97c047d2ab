import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from gpt2.config import (
    DataConfig,
    EvaluationConfig,
    GPT2Config,
    OptimizerKind,
    PrepareConfig,
    RunConfig,
)
from gpt2.data.shard_folder import open_shards
from gpt2.errors import CheckpointError, ConfigError, DataError, InputError, NotFiniteError
from gpt2.files.pretrained import GPT2
from gpt2.files.run_directory import list_checkpoints, newest_checkpoint, step_of
from gpt2.model.gpt import GPT2Network
from gpt2.model.quantized import quantize_network
from gpt2.prepare.pipeline import prepare
from gpt2.prepare.sources import in_memory
from gpt2.train.distributed import Processes
from gpt2.train.interruption import DivergedRunError, InterruptedRunError
from gpt2.train.metrics import read_metrics
from gpt2.train.normality.verdict import judge
from gpt2.train.run import resume, start
from gpt2.train.settings import resolve, with_shape_of_init_from
from llm_tokenizer import Tokenizer

HERE = Processes(torch.device("cpu"))
NO_DROPOUT = dict.fromkeys(("embd_pdrop", "attn_pdrop", "resid_pdrop"), 0.0)
SameRun = Callable[[Path, Path], None]


def changed(config: RunConfig, section: str, **settings: Any) -> RunConfig:
    return replace(config, **{section: replace(getattr(config, section), **settings)})


def names(run: Path) -> list[str]:
    return [path.name for path in list_checkpoints(run)]


def losses(run: Path) -> list[float]:
    return [row["loss"] for row in read_metrics(run) if "loss" in row]


def contents(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_a_run_directory_holds_settings_metrics_checkpoints_and_report(
    config: RunConfig, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    start(config, run)

    assert RunConfig.from_toml(run / "config.toml") == resolve(config, HERE)
    assert names(run) == ["step_00000002", "step_00000004", "step_00000006"]
    rows = read_metrics(run)
    steps, evaluations = ([r for r in rows if key in r] for key in ("loss", "val_loss"))
    assert [row["step"] for row in steps] == [1, 2, 3, 4, 5, 6]
    assert [row["tokens"] for row in steps] == [64, 128, 192, 256, 320, 384]
    keys = "step loss learning_rate grad_norm tokens tokens_per_second mfu training_seconds"
    assert set(steps[0]) == set(keys.split())
    assert [(row["step"], row["val_tokens"]) for row in evaluations] == [(2, 48), (4, 48), (6, 48)]
    report = (run / "report.md").read_text(encoding="utf-8")
    for told in ("held-out loss, last evaluation", "time in evaluations", "tokens read | 384"):
        assert told in report
    assert (run / "loss.png").read_bytes().startswith(b"\x89PNG")


def test_training_learns(config: RunConfig, tmp_path: Path) -> None:
    longer = changed(config, "training", steps=60)
    start(replace(longer, evaluation=EvaluationConfig(every=60)), tmp_path)
    found = losses(tmp_path)
    assert found[0] == pytest.approx(np.log(300), abs=0.1)
    assert np.mean(found[-10:]) < 0.7 * found[0]


# Stop and resume


@pytest.mark.parametrize("step", [1, 2, 3, 5])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"dtype": "bfloat16", "attention": "manual"},
        {"dtype": "float16"},
        {"gradient_checkpointing": True, "micro_batch": 4},
    ],
    ids=str,
)
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(
    config: RunConfig,
    tmp_path: Path,
    signal_after: Callable[[int], None],
    assert_same_run: SameRun,
    step: int,
    settings: dict[str, Any],
) -> None:
    config = changed(config, "training", **settings)
    start(config, tmp_path / "whole")
    signal_after(step)
    with pytest.raises(InterruptedRunError, match=f"after step {step} of 6") as raised:
        start(config, tmp_path / "stopped")
    assert raised.value.exit_code == 143
    resume(tmp_path / "stopped")
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.parametrize("kind", ["muon", "normuon"])
def test_muon_resumes_to_the_bit(
    config: RunConfig,
    tmp_path: Path,
    signal_after: Callable[[int], None],
    assert_same_run: SameRun,
    kind: OptimizerKind,
) -> None:
    config = changed(config, "optimizer", kind=kind, embedding_learning_rate=2e-2)
    start(config, tmp_path / "whole")
    signal_after(3)
    with pytest.raises(InterruptedRunError):
        start(config, tmp_path / "stopped")
    resume(tmp_path / "stopped")
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_a_run_stops_when_its_hours_are_over_which_is_no_failure(
    config: RunConfig, tmp_path: Path, assert_same_run: SameRun
) -> None:
    start(config, tmp_path / "whole")
    with pytest.raises(InterruptedRunError, match="its hours are over after step 1") as raised:
        start(changed(config, "training", max_hours=1e-9), tmp_path / "run")
    assert raised.value.exit_code == 0
    with pytest.raises(InterruptedRunError, match="after step 2 of 6"):
        resume(tmp_path / "run")
    settings = RunConfig.from_toml(tmp_path / "run/config.toml")
    resume(tmp_path / "run", changed(settings, "training", max_hours=None))
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_a_run_resumes_from_any_folder(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(config.data.directory.parent)
    start(changed(config, "data", directory=Path(config.data.directory.name)), tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    resume(Path("run"))


def test_a_reference_and_the_weights_to_begin_with_are_found_from_any_folder(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(config, tmp_path / "first")
    monkeypatch.chdir(tmp_path)
    other = changed(config, "evaluation", reference="first/best")
    other = changed(other, "training", init_from="first", max_hours=1e-9)
    with pytest.raises(InterruptedRunError):
        start(other, "second")
    saved = RunConfig.from_toml(tmp_path / "second/config.toml")
    assert saved.evaluation.reference == str(tmp_path / "first/best")
    assert saved.training.init_from == str(tmp_path / "first/checkpoints/step_00000006")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    resume("../second", changed(saved, "training", max_hours=None))
    report = (tmp_path / "second/report.md").read_text(encoding="utf-8")
    assert f"| {tmp_path / 'first/best'} |" in report


def test_paths_may_be_strings(config: RunConfig, tmp_path: Path) -> None:
    data = DataConfig(directory=str(config.data.directory), seed=3)  # type: ignore[arg-type]
    run = str(tmp_path / "run")
    with pytest.raises(InterruptedRunError):
        start(changed(replace(config, data=data), "training", max_hours=1e-9), run)
    resume(run, config)
    assert len(losses(tmp_path / "run")) == 6


def test_a_run_of_one_step_whose_hours_are_over_at_once_is_finished(
    config: RunConfig, tmp_path: Path
) -> None:
    start(changed(config, "training", steps=1, max_hours=1e-300), tmp_path)
    assert (tmp_path / "report.md").exists()


def test_steps_that_take_no_time_are_taken(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.perf_counter", lambda: 1.0)
    start(config, tmp_path)
    assert len(losses(tmp_path)) == 6


def test_a_run_is_not_started_over_another(config: RunConfig, tmp_path: Path) -> None:
    start(config, tmp_path)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    with pytest.raises(CheckpointError, match="holds a run already; continue it with --resume"):
        start(config, tmp_path)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


def test_a_directory_without_a_run_is_not_resumed(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no run to resume"):
        resume(tmp_path)


def test_a_run_without_a_checkpoint_begins_again(
    config: RunConfig, tmp_path: Path, assert_same_run: SameRun
) -> None:
    start(config, tmp_path / "whole")
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.toml").write_text(config.to_toml())
    (run / "metrics.jsonl").write_text('{"step": 1, "loss": 9.9}\n{"step": 2, "lo')
    resume(run)
    assert_same_run(tmp_path / "whole", run)


def test_a_finished_run_whose_metrics_are_lost_still_has_a_report(
    config: RunConfig, tmp_path: Path
) -> None:
    start(config, tmp_path)
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "report.md").unlink()
    resume(tmp_path)
    assert "no rows of metrics" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_run_that_ends_logs_whether_it_is_normal(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start(config, tmp_path)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == judge(tmp_path).line
    assert last.startswith("Nothing in its metrics is unusual. No bundled recipe has its settings")


@pytest.mark.parametrize("settings", [{}, {"every": 1, "reference": None}], ids=str)
def test_a_finished_run_says_so_and_changes_nothing_though_its_data_are_gone(
    config: RunConfig,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    settings: dict[str, Any],
) -> None:
    start(config, tmp_path)
    before = contents(tmp_path)
    moved = changed(config, "data", directory=tmp_path / "gone")
    capsys.readouterr()
    resume(tmp_path, changed(moved, "evaluation", **settings))
    assert capsys.readouterr().err == f"{tmp_path} is finished: it has taken all its 6 steps\n"
    assert contents(tmp_path) == before


def test_a_finished_run_without_a_report_gets_one_though_its_data_are_gone(
    config: RunConfig, tmp_path: Path
) -> None:
    start(config, tmp_path)
    before = contents(tmp_path)
    (tmp_path / "report.md").unlink()
    resume(tmp_path, changed(config, "data", directory=tmp_path / "gone"))
    assert contents(tmp_path) == before


def test_a_finished_run_takes_more_steps_when_asked_to(config: RunConfig, tmp_path: Path) -> None:
    start(config, tmp_path)
    resume(tmp_path, changed(config, "training", steps=8), allow_changes=["training.steps"])
    assert len(losses(tmp_path)) == 8
    assert "| steps | 8 of 8 |" in (tmp_path / "report.md").read_text(encoding="utf-8")


# Damage


@pytest.mark.parametrize("left", [None, "the folder", "the folder of a run of one checkpoint"])
def test_a_run_whose_checkpoints_were_removed_is_not_started_again(
    config: RunConfig, tmp_path: Path, left: str | None
) -> None:
    if left == "the folder of a run of one checkpoint":
        config = changed(config, "checkpoint", every=99, keep_best=False)
    start(config, tmp_path)
    shutil.rmtree(tmp_path / "checkpoints")
    if left:
        (tmp_path / "checkpoints").mkdir()
    before = contents(tmp_path)
    with pytest.raises(CheckpointError, match="up to step 6, but .* put the checkpoints back, or"):
        resume(tmp_path)
    assert contents(tmp_path) == before
    (tmp_path / "metrics.jsonl").unlink()
    resume(tmp_path)
    assert len(losses(tmp_path)) == 6


@pytest.mark.parametrize("killed_while_saving", [True, False])
def test_a_run_that_never_saved_a_checkpoint_says_that_it_starts_again(
    config: RunConfig,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    killed_while_saving: bool,
) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.toml").write_text(config.to_toml())
    steps = 4 if killed_while_saving else 2  # the first checkpoint is due at step 2
    if killed_while_saving:
        (tmp_path / "checkpoints/step_00000002.partial").mkdir()
    rows = (json.dumps({"step": step, "loss": 9.9}) + "\n" for step in range(1, steps + 1))
    (tmp_path / "metrics.jsonl").write_text("".join(rows))
    resume(tmp_path)
    assert "saved no checkpoint before it ended at step" in capsys.readouterr().err
    assert len(losses(tmp_path)) == 6
    assert 9.9 not in losses(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("step", 5),
        ("step", "6"),
        ("step", None),
        ("tokens", -1),
        ("tokens", True),
        ("training_seconds", "x"),
        ("evaluation_seconds", float("nan")),
        ("best_step", 2.5),
        ("scaler", []),
        ("scaler", {"scale": "x"}),
        ("scaler", {"scale": 1.0}),
        ("settings", []),
        ("settings", {"training": 3}),
        ("settings", {"training": {"stepz": 3}}),
        ("settings", {"training": {"steps": "x"}}),
        ("data_fingerprint", 5),
        ("optimizer_kinds", "AdamW"),
        ("optimizer_kinds", None),
        ("skipped", ...),
        ("optimizer_kinds", ...),
        ("versions", ...),
    ],
    ids=str,
)
def test_a_training_state_that_was_edited_is_one_line_that_names_the_file(
    config: RunConfig, tmp_path: Path, name: str, value: object
) -> None:
    with pytest.raises(InterruptedRunError):
        start(changed(config, "training", max_hours=1e-9, dtype="float16"), tmp_path)
    checkpoint = newest_checkpoint(tmp_path)
    entries = json.loads((checkpoint / "training_state.json").read_text())
    entries[name] = value
    if value is ...:
        del entries[name]
    seal(checkpoint, json.dumps(entries))
    if name == "versions":
        del entries["skipped"]
        seal(checkpoint, json.dumps(entries))
    with pytest.raises((CheckpointError, ConfigError), match="training_state.json") as raised:
        resume(tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "[]", "null", "{"])
def test_a_training_state_that_is_no_object_is_one_line(
    config: RunConfig, tmp_path: Path, text: str
) -> None:
    with pytest.raises(InterruptedRunError):
        start(changed(config, "training", max_hours=1e-9), tmp_path)
    seal(newest_checkpoint(tmp_path), text)
    with pytest.raises(CheckpointError, match="training_state.json was edited: .* no JSON object"):
        resume(tmp_path)


def seal(checkpoint: Path, state: str) -> None:
    """Put another training_state.json into a checkpoint, with checksums that fit it."""
    (checkpoint / "training_state.json").write_text(state)
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    content = state.encode()
    manifest["training_state.json"] = {
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    (checkpoint / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


@pytest.mark.parametrize("file", ["model.safetensors", "training_state.json", "manifest.json"])
def test_a_run_goes_on_from_the_newest_intact_checkpoint_and_says_so(
    config: RunConfig,
    tmp_path: Path,
    assert_same_run: SameRun,
    capsys: pytest.CaptureFixture[str],
    file: str,
) -> None:
    start(config, tmp_path / "whole")
    start(config, tmp_path / "run")
    damaged = tmp_path / "run/checkpoints/step_00000006"
    content = bytearray((damaged / file).read_bytes())
    content[len(content) // 2] ^= 1
    (damaged / file).write_bytes(content)
    resume(tmp_path / "run")
    told = capsys.readouterr().err
    assert file in told
    assert "going on from" in told
    assert "step_00000004" in told
    assert_same_run(tmp_path / "whole", tmp_path / "run")
    assert damaged.with_name("step_00000006.damaged").is_dir()


def test_a_run_whose_checkpoints_are_all_damaged_is_left_as_it_is(
    config: RunConfig, tmp_path: Path
) -> None:
    start(config, tmp_path)
    for directory in list_checkpoints(tmp_path):
        (directory / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError, match="no checkpoint of .* is intact: .*00000006.*000002"):
        resume(tmp_path)
    assert len(names(tmp_path)) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="files have no limit there")
def test_a_full_disk_loses_neither_the_run_nor_the_last_checkpoint(
    config: RunConfig, tmp_path: Path, assert_same_run: SameRun
) -> None:
    start(config, tmp_path / "whole")
    with pytest.raises(InterruptedRunError):
        start(changed(config, "training", max_hours=1e-9), tmp_path / "run")
    weights = newest_checkpoint(tmp_path / "run") / "model.safetensors"
    limited = subprocess.run(
        [sys.executable, "-m", "gpt2", "train", "--resume", tmp_path / "run", "--max-hours", "9"],
        capture_output=True,
        text=True,
        preexec_fn=partial(_limit_files, weights.stat().st_size // 2),
    )
    assert limited.returncode == 1
    assert limited.stderr.count("could not save") == 4  # the third and fourth are one
    assert "continue after step_00000001 with: gpt2 train --resume" in limited.stderr
    assert names(tmp_path / "run") == ["step_00000001"]
    assert not list((tmp_path / "run/checkpoints").glob("*.partial"))
    resume(tmp_path / "run")
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def _limit_files(size: int) -> None:
    """Let no file grow beyond a size, as if the disk were full."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


# Changes


def test_changes_that_leave_the_mathematics_are_told_and_made(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(config, model=replace(config.model, **NO_DROPOUT))
    start(config, tmp_path / "whole")
    with pytest.raises(InterruptedRunError):
        start(changed(config, "training", max_hours=1e-9), tmp_path / "run")
    other = changed(config, "training", micro_batch=1, attention="manual")
    resume(tmp_path / "run", other)
    assert "training.micro_batch was 2, is 1" in capsys.readouterr().err
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "whole"), rel=1e-6)
    assert RunConfig.from_toml(tmp_path / "run/config.toml") == resolve(other, HERE)


@pytest.mark.parametrize(
    ("section", "settings"),
    [
        ("optimizer", {"learning_rate": 0.5}),
        ("training", {"batch_tokens": 96, "micro_batch": 3}),
        ("training", {"seed": 9}),
        ("data", {"seed": 9}),
        ("model", {"attn_pdrop": 0.7}),
    ],
    ids=str,
)
def test_changes_of_the_mathematics_are_refused_unless_named(
    config: RunConfig, tmp_path: Path, section: str, settings: dict[str, Any]
) -> None:
    with pytest.raises(InterruptedRunError):
        start(changed(config, "training", max_hours=1e-9), tmp_path)
    name = f"{section}.{next(iter(settings))}"
    other = changed(config, section, **settings)
    (tmp_path / "config.toml").write_text(other.to_toml())
    with pytest.raises(ConfigError, match=f"accept that with --allow-changes {name}"):
        resume(tmp_path)
    resume(tmp_path, allow_changes=[name])
    assert losses(tmp_path)[1:] != []


def test_an_accepted_change_need_not_be_named_again_after_a_kill(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InterruptedRunError):
        start(changed(config, "training", max_hours=1e-9), tmp_path)
    other = changed(config, "optimizer", learning_rate=0.5)

    def die(_trainer: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("gpt2.train.loop.Trainer.take_step", die)
        with pytest.raises(KeyboardInterrupt):
            resume(tmp_path, other, allow_changes=["optimizer.learning_rate"])
    resume(tmp_path)
    assert max(row.get("learning_rate", 0) for row in read_metrics(tmp_path)) == 0.5
    with pytest.raises(ConfigError, match="accept that with --allow-changes optimizer.beta1"):
        resume(tmp_path, changed(other, "optimizer", beta1=0.5))


def test_an_accepted_change_drops_evaluations_of_the_weights_that_it_replaces(
    config: RunConfig, tmp_path: Path
) -> None:
    with pytest.raises(InterruptedRunError):
        start(changed(config, "training", max_hours=1e-9), tmp_path)
    of_step = '{"evaluation": "cloze", "step": %d}\n'
    (tmp_path / "evaluations.jsonl").write_text(of_step % 1 + of_step % 2)
    other = changed(config, "optimizer", learning_rate=0.5)
    resume(tmp_path, other, allow_changes=["optimizer.learning_rate"])
    assert (tmp_path / "evaluations.jsonl").read_text() == of_step % 1


def test_a_run_cannot_end_before_what_it_has_done(config: RunConfig, tmp_path: Path) -> None:
    start(config, tmp_path)
    shorter = changed(config, "training", steps=3)
    with pytest.raises(ConfigError, match="steps must be at least the 6 that .* has taken, got 3"):
        resume(tmp_path, shorter, allow_changes=["training.steps"])


def test_a_run_whose_batch_was_changed_reads_on_where_it_was(
    config: RunConfig, tmp_path: Path
) -> None:
    with pytest.raises(InterruptedRunError):
        start(changed(config, "training", max_hours=1e-9), tmp_path)
    other = changed(config, "training", batch_tokens=32, steps=3)
    resume(tmp_path, other, allow_changes=["training.batch_tokens", "training.steps"])
    assert [row["tokens"] for row in read_metrics(tmp_path) if "loss" in row] == [64, 96, 128]


@pytest.mark.parametrize(
    ("section", "settings"),
    [
        ("model", {"n_head": 3}),
        ("model", {"n_positions": 8}),
        ("model", {"n_layer": 3}),
        ("optimizer", {"kind": "muon"}),
    ],
    ids=str,
)
def test_what_does_not_fit_weights_and_optimizer_is_refused_even_if_named(
    config: RunConfig, tmp_path: Path, section: str, settings: dict[str, Any]
) -> None:
    start(config, tmp_path)
    name = f"{section}.{next(iter(settings))}"
    with pytest.raises(ConfigError, match=f"{name} cannot change in a run.* start one with --init"):
        resume(tmp_path, changed(config, section, **settings), allow_changes=[name])


def test_a_setting_that_there_is_not_cannot_be_allowed(config: RunConfig, tmp_path: Path) -> None:
    start(config, tmp_path)
    with pytest.raises(ConfigError, match="got optimizer.learning_rte; known: .*learning_rate"):
        resume(tmp_path, allow_changes=["optimizer.learning_rte"])


def test_two_processes_do_not_train_one_run(config: RunConfig, tmp_path: Path) -> None:
    start(config, tmp_path / "run")

    def try_the_same(*_: object) -> dict[str, Any]:
        with pytest.raises(CheckpointError, match="another process trains the run in"):
            resume(tmp_path / "other")
        return {}

    start(config, tmp_path / "other", evaluations=[try_the_same])


def test_a_run_on_other_tokens_is_not_resumed(
    config: RunConfig, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    first = in_memory("first", ["one text " * 60, "held out " * 20])
    prepare(first, tokenizer, data, PrepareConfig())
    config = replace(config, data=DataConfig(directory=data))
    with pytest.raises(InterruptedRunError):
        start(changed(config, "training", max_hours=1e-9), tmp_path / "run")
    second = in_memory("second", ["another text " * 60, "held out " * 20])
    prepare(second, tokenizer, data, PrepareConfig(), force=True)
    with pytest.raises(DataError, match="holds other tokens than"):
        resume(tmp_path / "run")


# Checkpoints


def test_the_training_state_is_all_that_the_future_depends_on(
    config: RunConfig, tmp_path: Path
) -> None:
    start(changed(config, "training", dtype="float16"), tmp_path)
    entries = json.loads((newest_checkpoint(tmp_path) / "training_state.json").read_text())
    data = open_shards(config.data.directory)
    assert (entries["step"], entries["tokens"]) == (6, 384)
    assert entries["data_fingerprint"] == data.fingerprint
    assert entries["tokenizer_fingerprint"] == data.tokenizer.fingerprint
    assert entries["settings"]["optimizer"]["learning_rate"] == 1e-2
    assert entries["scaler"]["scale"] > 0
    assert entries["versions"]["torch"] == torch.__version__


def test_the_newest_and_the_best_checkpoints_are_kept(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = iter([5.0, 4.0, 4.5, 4.6, 4.7, 4.8])

    def measure(*_: object) -> dict[str, float]:
        return {"val_loss": next(found)}

    config = replace(
        config,
        evaluation=EvaluationConfig(every=1),
        checkpoint=replace(config.checkpoint, every=3, keep_last=2),
    )
    start(config, tmp_path, evaluations=[measure])
    assert names(tmp_path) == ["step_00000002", "step_00000003", "step_00000006"]


def test_the_best_checkpoint_is_not_kept_if_not_asked_for(
    config: RunConfig, tmp_path: Path
) -> None:
    found = iter([4.0, 5.0, 6.0])
    config = replace(
        config, checkpoint=replace(config.checkpoint, every=3, keep_last=1, keep_best=False)
    )
    start(config, tmp_path, evaluations=[lambda *_: {"val_loss": next(found)}])
    assert names(tmp_path) == ["step_00000006"]


def test_checkpoints_without_settings_are_not_trained_over(
    config: RunConfig, tmp_path: Path
) -> None:
    start(config, tmp_path)
    (tmp_path / "config.toml").unlink()
    with pytest.raises(CheckpointError, match="holds a run already"):
        start(config, tmp_path)


def test_transformers_opens_every_checkpoint_of_a_run(config: RunConfig, tmp_path: Path) -> None:
    start(config, tmp_path)
    ids = torch.tensor([[5, 6, 7]])
    for directory in list_checkpoints(tmp_path):
        theirs = transformers.AutoModelForCausalLM.from_pretrained(directory).eval()
        with torch.no_grad():
            ours = GPT2.from_pretrained(directory)(ids)
            torch.testing.assert_close(theirs(ids).logits, ours, rtol=0, atol=1e-4)


# What a run may begin with, and on what


def test_a_run_can_begin_with_the_weights_of_another(config: RunConfig, tmp_path: Path) -> None:
    start(config, tmp_path / "first")
    other = changed(config, "training", init_from=str(tmp_path / "first"), steps=2)
    other = changed(other, "model", n_positions=8, n_embd=999, n_head=1, attn_pdrop=0.0)
    start(other, tmp_path / "second")
    model = GPT2.from_pretrained(newest_checkpoint(tmp_path / "second"))
    expected = replace(config.model, n_positions=8, attn_pdrop=0.0)
    assert model.config == expected
    assert losses(tmp_path / "second")[0] < losses(tmp_path / "first")[0] - 0.2
    saved = RunConfig.from_toml(tmp_path / "second/config.toml")
    assert saved.training.init_from == str(tmp_path / "first/checkpoints/step_00000006")
    resume(tmp_path / "second")


def test_weights_of_transformers_train_on(config: RunConfig, tmp_path: Path) -> None:
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=300, n_positions=16, n_embd=12, n_layer=1, n_head=3)
    )
    theirs.save_pretrained(tmp_path / "theirs")
    config = changed(config, "training", init_from=str(tmp_path / "theirs"), steps=1)
    assert with_shape_of_init_from(config).model.n_embd == 12
    start(config, tmp_path / "run")
    assert GPT2.from_pretrained(newest_checkpoint(tmp_path / "run")).config.n_head == 3


def test_a_damaged_checkpoint_is_not_begun_with(config: RunConfig, tmp_path: Path) -> None:
    start(config, tmp_path / "first")
    weights = newest_checkpoint(tmp_path / "first") / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-9] ^= 1
    weights.write_bytes(content)
    with pytest.raises(CheckpointError, match="model.safetensors is damaged"):
        start(changed(config, "training", init_from=str(tmp_path / "first")), tmp_path / "second")


def test_weights_of_another_vocabulary_are_refused(
    config: RunConfig, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    other = Tokenizer.train(["some other text, " * 9], 270)
    small = GPT2Config(vocab_size=300, n_embd=4, n_layer=1, n_head=1)
    GPT2(small, tokenizer=other).save_pretrained(tmp_path / "other")
    config = changed(config, "training", init_from=str(tmp_path / "other"))
    with pytest.raises(InputError, match="training.init_from must be a model with the vocabulary"):
        start(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_quantized_model_is_no_start_of_a_run(
    config: RunConfig, tmp_path: Path, model: GPT2
) -> None:
    quantize_network(model, 8)
    model.save_pretrained(tmp_path / "int8")
    config = changed(config, "training", init_from=str(tmp_path / "int8"))
    with pytest.raises(ConfigError, match="int8 is quantized to 8 bits, and only float weights"):
        start(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_on_one_batch_learns_it_by_heart(config: RunConfig, tmp_path: Path) -> None:
    config = changed(config, "data", train_tokens=config.training.batch_tokens)
    config = changed(config, "training", steps=80)
    config = replace(config, model=replace(config.model, **NO_DROPOUT))
    start(replace(config, evaluation=EvaluationConfig(every=80)), tmp_path)
    assert losses(tmp_path)[-1] < 0.1


def test_a_model_too_small_for_the_vocabulary_leaves_no_run_behind(
    config: RunConfig, tmp_path: Path
) -> None:
    small = changed(config, "model", vocab_size=299)
    told = r"train_000000.bin holds the id 299, the model has 299 embeddings"
    with pytest.raises(DataError, match=told):
        start(small, tmp_path / "run")
    assert not (tmp_path / "run").exists()


# Evaluations


def test_samples_and_evaluations_of_ones_own_come_with_the_held_out_loss(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def count(model: GPT2, processes: Processes) -> dict[str, int]:
        assert not model.training
        return {"parameters": model.num_parameters()}

    config = changed(config, "evaluation", sample_prompts=("Permission is",), sample_tokens=5)
    start(config, tmp_path, evaluations=[count])
    row = read_metrics(tmp_path)[-1]
    assert row["parameters"] == GPT2(config.model).num_parameters()
    assert [sample["prompt"] for sample in row["samples"]] == ["Permission is"]
    assert row["samples"][0]["text"]
    assert "'Permission is'" in capsys.readouterr().err


def test_a_prompt_with_a_token_beyond_the_embeddings_is_refused_at_once(
    config: RunConfig, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    tokenizer.save(data)
    for split in ("train", "val"):
        np.arange(200, dtype="<u2").tofile(data / f"{split}.bin")
    config = changed(config, "evaluation", sample_prompts=("a<|endoftext|>",))
    config = replace(config, data=DataConfig(directory=data))
    small = changed(config, "model", vocab_size=299)
    with pytest.raises(ConfigError, match="ids below the 299 embeddings of the model, .* has 299"):
        start(small, tmp_path / "run")


def test_samples_do_not_disturb_the_run(config: RunConfig, tmp_path: Path) -> None:
    start(config, tmp_path / "plain")
    start(changed(config, "evaluation", sample_prompts=("of",)), tmp_path / "sampled")
    assert losses(tmp_path / "plain") == losses(tmp_path / "sampled")


def test_the_report_has_the_loss_of_a_reference_on_the_same_tokens(
    config: RunConfig, tmp_path: Path
) -> None:
    start(config, tmp_path / "first")
    last = newest_checkpoint(tmp_path / "first")
    start(changed(config, "evaluation", reference=str(last)), tmp_path / "second")
    expected = read_metrics(tmp_path / "first")[-1]["val_loss"]
    report = (tmp_path / "second/report.md").read_text()
    assert f"| {last} | {expected:.4f} nats/token |" in report


def test_a_reference_of_another_vocabulary_is_refused_at_once(
    config: RunConfig, tmp_path: Path
) -> None:
    other = Tokenizer.train(["some other text, " * 9], 270)
    model = GPT2(GPT2Config(vocab_size=300, n_embd=4, n_layer=1, n_head=1), tokenizer=other)
    model.save_pretrained(tmp_path / "other")
    with pytest.raises(InputError, match="evaluation.reference must be a model with the vocab"):
        start(changed(config, "evaluation", reference=str(tmp_path / "other")), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_reference_with_too_few_positions_is_refused_at_once(
    config: RunConfig, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    small = GPT2Config(vocab_size=300, n_positions=8, n_embd=4, n_layer=1, n_head=1)
    GPT2(small, tokenizer=tokenizer).save_pretrained(tmp_path / "short")
    with pytest.raises(ConfigError, match="at least 16 positions and 300 tokens, .* has 8 and 300"):
        start(changed(config, "evaluation", reference=str(tmp_path / "short")), tmp_path / "run")


# Steps that are not finite


def test_steps_that_are_not_finite_are_logged_and_skipped(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, calls = GPT2Network.loss, iter(range(99))

    def sometimes_nan(model: GPT2Network, *rows: torch.Tensor) -> torch.Tensor:
        bad = model.training and next(calls) == 4  # the first micro-batch of step 3
        return loss(model, *rows) * (float("nan") if bad else 1.0)

    monkeypatch.setattr(GPT2Network, "loss", sometimes_nan)
    start(changed(config, "checkpoint", every=1), tmp_path)
    rows = [row for row in read_metrics(tmp_path) if "loss" in row]
    assert [row.get("skipped") for row in rows] == [None, None, True, None, None, None]
    assert rows[2]["loss"] is None
    weights = [
        (tmp_path / f"checkpoints/step_0000000{k}/model.safetensors").read_bytes()
        for k in (2, 3, 4)
    ]
    assert weights[0] == weights[1] != weights[2]
    assert "steps skipped, not finite | 1 |" in (tmp_path / "report.md").read_text()


def test_a_run_whose_last_held_out_loss_is_not_finite_is_saved_and_fails(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, calls = GPT2Network.loss, iter(range(99))

    def nan_in_the_last_evaluation(model: GPT2Network, *rows: torch.Tensor) -> torch.Tensor:
        bad = not model.training and next(calls) >= 4  # two passes each
        return loss(model, *rows) * (float("nan") if bad else 1.0)

    monkeypatch.setattr(GPT2Network, "loss", nan_in_the_last_evaluation)
    with pytest.raises(NotFiniteError, match="the last held-out loss of .* is not finite"):
        start(config, tmp_path)
    assert step_of(newest_checkpoint(tmp_path)) == 6
    assert "last evaluation | not finite |" in (tmp_path / "report.md").read_text(encoding="utf-8")
    with pytest.raises(NotFiniteError, match="the last held-out loss of .* is not finite"):
        resume(tmp_path)


def test_after_ten_in_a_row_the_run_is_saved_and_stopped(config: RunConfig, tmp_path: Path) -> None:
    config = changed(config, "training", steps=40)
    config = changed(config, "optimizer", learning_rate=1e30, min_learning_rate=1e30)
    with pytest.raises(DivergedRunError, match="the last 10 steps, up to step 1[1-9], .* is saved"):
        start(config, tmp_path)
    rows = [row for row in read_metrics(tmp_path) if "loss" in row]
    assert [row.get("skipped") for row in rows[-11:]] == [None] + 10 * [True]
    assert step_of(newest_checkpoint(tmp_path)) == len(rows)
    with pytest.raises(DivergedRunError, match="the last 10 steps, up to step 2"):
        resume(tmp_path)  # which has ten new chances


def test_a_run_that_diverges_keeps_the_checkpoints_before_it(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, calls = GPT2Network.loss, iter(range(999))

    def nan_from_step_4(model: GPT2Network, *rows: torch.Tensor) -> torch.Tensor:
        bad = model.training and next(calls) >= 6
        return loss(model, *rows) * (float("nan") if bad else 1.0)

    config = changed(config, "training", steps=40)
    config = changed(config, "evaluation", sample_prompts=("The",))
    with monkeypatch.context() as patch:
        patch.setattr(GPT2Network, "loss", nan_from_step_4)
        with pytest.raises(DivergedRunError, match="up to step 13"):
            start(changed(config, "checkpoint", every=1, keep_last=1), tmp_path)
    assert "step_00000003" in names(tmp_path)
    resume(tmp_path)  # the cause is gone: nothing was harmed
    assert losses(tmp_path)[-1] < losses(tmp_path)[0]


def test_samples_of_a_diverged_model_are_left_out(config: RunConfig, tmp_path: Path) -> None:
    config = changed(config, "evaluation", sample_prompts=("The",), every=1)
    config = changed(config, "optimizer", learning_rate=1e30, min_learning_rate=1e30)
    with pytest.raises(DivergedRunError):
        start(changed(config, "training", steps=30), tmp_path)
    assert "samples" not in read_metrics(tmp_path)[-1]
