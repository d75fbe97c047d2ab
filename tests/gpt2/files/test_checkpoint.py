import dataclasses
import importlib.metadata
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
import transformers
from safetensors import SafetensorError

from gpt2.checksums import sha256_of
from gpt2.config import OptimizerConfig
from gpt2.errors import CheckpointError
from gpt2.files.checkpoint import (
    Optimizers,
    restore_optimizers,
    take_snapshot,
    verify_checkpoint,
    write_checkpoint,
)
from gpt2.files.names import locate
from gpt2.files.pretrained import GPT2, write_tensors
from gpt2.files.run_directory import list_checkpoints, newest_checkpoint, prune_checkpoints
from gpt2.files.training_state import TrainingState, read_state
from gpt2.train.optimizer import make_optimizers

STATE = TrainingState(
    step=7,
    tokens=70,
    training_seconds=1.5,
    evaluation_seconds=0.5,
    skipped=2,
    best_step=5,
    best_val_loss=2.5,
    scaler={"scale": 1024.0, "_growth_tracker": 3},
    settings={"training": {"steps": 9}},
    data_fingerprint="abc",
    tokenizer_fingerprint="def",
)


def trained(model: GPT2, kind: str) -> Optimizers:
    """Return the optimizers of a model after two steps."""
    optimizers = make_optimizers(model, OptimizerConfig(kind=kind, beta1=0.7))
    ids = torch.arange(20).reshape(2, 10)
    for _ in range(2):
        model.loss(ids, ids).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return optimizers


def save(
    run: Path,
    model: GPT2,
    optimizers: Optimizers,
    state: TrainingState = STATE,
    keep_last: int = 2,
) -> Path:
    snapshot = take_snapshot(model, optimizers, state)
    assert snapshot
    directory = write_checkpoint(run, snapshot)
    prune_checkpoints(run, keep_last)
    return directory


@pytest.fixture
def saved(model: GPT2, tmp_path: Path) -> Path:
    return save(tmp_path, model, trained(model, "adamw"))


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_weights_optimizer_and_state_come_back_to_the_bit(
    model: GPT2, tmp_path: Path, kind: str
) -> None:
    optimizers = trained(model, kind)
    directory = save(tmp_path, model, optimizers)
    assert directory == tmp_path / "checkpoints/step_00000007"

    verify_checkpoint(directory)
    assert read_state(directory) == STATE
    restored = GPT2.from_pretrained(directory)
    others = make_optimizers(restored, OptimizerConfig(kind=kind, beta1=0.7))
    restore_optimizers(directory, restored, others)

    for name, tensor in model.state_dict().items():
        assert torch.equal(restored.state_dict()[name], tensor), name
    for ours, theirs in zip(optimizers, others, strict=True):
        expected, found = ours.state_dict(), theirs.state_dict()
        assert json.dumps(found["param_groups"]) == json.dumps(expected["param_groups"])
        assert found["state"].keys() == expected["state"].keys()
        for parameter, state in expected["state"].items():
            for name, tensor in state.items():
                assert torch.equal(found["state"][parameter][name], tensor), name


def test_transformers_opens_a_checkpoint_as_it_is(saved: Path, model: GPT2) -> None:
    theirs = transformers.AutoModelForCausalLM.from_pretrained(saved).eval()
    tokens = transformers.AutoTokenizer.from_pretrained(saved)("Permission is granted")
    ids = torch.tensor([tokens.input_ids])
    assert ids.tolist() == [model.tokenizer.encode("Permission is granted")]
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, model(ids), rtol=0, atol=1e-4)


@pytest.mark.parametrize("kept", [1, 2])
def test_the_newest_checkpoints_are_kept(model: GPT2, tmp_path: Path, kept: int) -> None:
    for step in (9, 10, 11):
        state = dataclasses.replace(STATE, step=step)
        save(tmp_path, model, trained(model, "adamw"), state, kept)
    names = [path.name for path in list_checkpoints(tmp_path)]
    assert names == ["step_00000009", "step_00000010", "step_00000011"][-kept:]
    assert newest_checkpoint(tmp_path).name == "step_00000011"


FILES = (
    *("config.json", "generation_config.json", "merges.txt", "model.safetensors", "vocab.json"),
    *("training_state.json", "training_state.safetensors", "manifest.json"),
    "model.safetensors.index.json",
)


def test_an_index_lists_the_weights_alone_for_programs_that_read_every_safetensors_file(
    saved: Path,
) -> None:
    index = json.loads((saved / "model.safetensors.index.json").read_text(encoding="utf-8"))
    weights = safetensors.torch.load_file(saved / "model.safetensors")
    assert index["weight_map"] == dict.fromkeys(weights, "model.safetensors")
    assert (saved / "training_state.safetensors").exists()


@pytest.mark.parametrize("file", FILES)
def test_a_flipped_truncated_or_missing_file_is_named(saved: Path, file: str) -> None:
    assert sorted(path.name for path in saved.iterdir()) == sorted(FILES)
    content = (saved / file).read_bytes()
    for place in range(0, len(content), 1 + len(content) // 50):
        flipped = bytearray(content)
        flipped[place] ^= 1
        (saved / file).write_bytes(flipped)
        with pytest.raises(CheckpointError, match=file):
            verify_checkpoint(saved)
    (saved / file).write_bytes(content[:-1])
    with pytest.raises(CheckpointError, match=file):
        verify_checkpoint(saved)
    (saved / file).unlink()
    with pytest.raises(CheckpointError, match=f"{file} is missing|no {file}"):
        verify_checkpoint(saved)
    (saved / file).write_bytes(content)
    verify_checkpoint(saved)


def test_a_snapshot_does_not_change_with_the_run(model: GPT2, tmp_path: Path) -> None:
    optimizers = trained(model, "adamw")
    snapshot = take_snapshot(model, optimizers, STATE)
    assert snapshot
    first = write_checkpoint(tmp_path / "first", snapshot)
    model.wte.weight.data += 1
    for state in optimizers[0].state.values():
        state["exp_avg"] += 1
    second = write_checkpoint(tmp_path / "second", snapshot)
    for file in ("model.safetensors", "training_state.safetensors"):
        assert (first / file).read_bytes() == (second / file).read_bytes()


def test_optimizers_of_another_kind_are_refused(saved: Path, model: GPT2) -> None:
    others = make_optimizers(model, OptimizerConfig(kind="muon"))
    with pytest.raises(CheckpointError, match="whose state does not fit .*Muon"):
        restore_optimizers(saved, model, others)


def test_a_state_of_another_version_is_told(saved: Path) -> None:
    entries = json.loads((saved / "training_state.json").read_text())
    del entries["tokens"]
    (saved / "training_state.json").write_text(json.dumps(entries))
    with pytest.raises(CheckpointError, match="lacks tokens: it was written by another version"):
        read_state(saved)


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"config.json": {}}'])
def test_a_manifest_that_lists_nothing_vouches_for_nothing(saved: Path, content: str) -> None:
    (saved / "manifest.json").write_text(content)
    with pytest.raises(CheckpointError, match="no manifest.json that lists its files"):
        verify_checkpoint(saved)


def test_what_is_no_checkpoint_is_not_taken_for_one(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoints/step_copy").mkdir()
    (tmp_path / "checkpoints/step_00000099").touch()
    assert list_checkpoints(tmp_path) == [saved]


def test_a_half_written_checkpoint_is_not_taken_for_one_and_goes_with_the_next(
    saved: Path, model: GPT2, tmp_path: Path
) -> None:
    partial = tmp_path / "checkpoints/step_00000008.partial"
    partial.mkdir()
    partial.with_name("x.partial").touch()
    assert newest_checkpoint(tmp_path) == saved
    state = dataclasses.replace(STATE, step=9)
    save(tmp_path, model, trained(model, "adamw"), state)
    assert not partial.exists()


def test_tensors_that_cannot_be_written_are_told_and_leave_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_the_disk(_tensors: object, path: Path, **_options: object) -> None:
        path.write_bytes(b"half")
        raise SafetensorError("No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", fill_the_disk)
    with pytest.raises(CheckpointError, match="could not write .*x.safetensors: No space left"):
        write_tensors(tmp_path / "x.safetensors", {"a": torch.zeros(1)})
    assert not list(tmp_path.iterdir())


def test_a_run_directory_stands_for_its_newest_checkpoint(saved: Path, tmp_path: Path) -> None:
    assert locate(str(tmp_path)) == saved
    assert locate(tmp_path) == saved
    assert locate(str(saved)) == saved


def test_a_run_without_checkpoints_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        newest_checkpoint(tmp_path)


def remade(checkpoint: Path, change: Callable[[Path], None]) -> None:
    """Change the optimizers' file of a checkpoint, and make its manifest fit again."""
    change(checkpoint / "training_state.safetensors")
    files = [file for file in sorted(checkpoint.iterdir()) if file.name != "manifest.json"]
    listed = {
        file.name: {"bytes": file.stat().st_size, "sha256": sha256_of(file)} for file in files
    }
    (checkpoint / "manifest.json").write_text(json.dumps(listed, indent=1) + "\n")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda path: path.write_bytes(b""), "is damaged or no safetensors file"),
        (
            lambda path: shutil.copy(path.with_name("model.safetensors"), path),
            "must hold the optimizers' state of every parameter",
        ),
    ],
    ids=["empty", "the weights"],
)
def test_an_optimizer_state_of_something_else_is_named(
    saved: Path, model: GPT2, change: Callable[[Path], None], expected: str
) -> None:
    remade(saved, change)
    verify_checkpoint(saved)
    with pytest.raises(CheckpointError, match=f"training_state.safetensors {expected}"):
        restore_optimizers(saved, model, make_optimizers(model, OptimizerConfig()))


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_run_opens_by_its_newest_checkpoint_with_all_files(
    saved: Path,
    model: GPT2,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], object],
) -> None:
    later = save(tmp_path, model, trained(model, "adamw"), dataclasses.replace(STATE, step=8))
    assert locate(tmp_path) == later
    damage(later / "model.safetensors")
    assert locate(tmp_path) == saved
    assert "step_00000008 lacks files or parts of them; taking " in capsys.readouterr().err
    damage(saved / "model.safetensors")
    assert locate(tmp_path) == later  # which then is named as damaged


def test_a_run_whose_first_checkpoint_could_not_be_written_keeps_a_trace(
    model: GPT2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gpt2.files.checkpoint.write_tensors", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        save(tmp_path, model, trained(model, "adamw"))
    [trace] = (tmp_path / "checkpoints").iterdir()
    assert trace.name == "step_00000007.partial"
    assert not list(trace.iterdir())


def test_a_checkpoint_is_saved_where_the_sources_are_on_the_path_and_not_installed(
    model: GPT2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata.Distribution, "discover", lambda **_: iter(()))
    directory = save(tmp_path, model, trained(model, "adamw"))
    verify_checkpoint(directory)
    state = json.loads((directory / "training_state.json").read_text())
    assert state["versions"]["gpt2-from-scratch"] == "not installed"
