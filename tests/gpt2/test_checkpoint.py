import dataclasses
import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors import SafetensorError

from gpt2 import checkpoint
from gpt2.checkpoint import TrainingState
from gpt2.config import OptimizerConfig
from gpt2.errors import CheckpointError
from gpt2.pretrained import GPT2, write_tensors
from gpt2.train.optimizer import make_optimizers

STATE = TrainingState(step=7, seconds=1.5, data_fingerprint="abc")


def trained(model: GPT2, kind: str) -> checkpoint.Optimizers:
    """Return the optimizers of a model after two steps."""
    optimizers = make_optimizers(model, OptimizerConfig(kind=kind, beta1=0.7))
    ids = torch.arange(20).reshape(2, 10)
    for _ in range(2):
        model.loss(ids, ids).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    return optimizers


@pytest.fixture
def saved(model: GPT2, tmp_path: Path) -> Path:
    return checkpoint.save(tmp_path, model, trained(model, "adamw"), STATE, keep_last=2)


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_weights_optimizer_and_state_come_back_to_the_bit(
    model: GPT2, tmp_path: Path, kind: str
) -> None:
    optimizers = trained(model, kind)
    directory = checkpoint.save(tmp_path, model, optimizers, STATE, keep_last=1)
    assert directory == tmp_path / "checkpoints/step_00000007"

    restored = GPT2(model.config, tokenizer=model.tokenizer, seed=5)
    others = make_optimizers(restored, OptimizerConfig(kind=kind))
    assert checkpoint.restore(directory, restored, others) == STATE

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
        checkpoint.save(tmp_path, model, trained(model, "adamw"), state, keep_last=kept)
    names = [path.name for path in checkpoint.steps(tmp_path)]
    assert names == ["step_00000009", "step_00000010", "step_00000011"][-kept:]
    assert checkpoint.newest(tmp_path).name == "step_00000011"


@pytest.mark.parametrize("file", ["model.safetensors", "training_state.json", "merges.txt"])
def test_a_missing_or_changed_file_is_named(saved: Path, model: GPT2, file: str) -> None:
    optimizers = make_optimizers(model, OptimizerConfig())
    content = bytearray((saved / file).read_bytes())
    content[len(content) // 2] ^= 1
    (saved / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{file} is damaged"):
        checkpoint.restore(saved, model, optimizers)
    (saved / file).unlink()
    with pytest.raises(CheckpointError, match=f"{file} is missing"):
        checkpoint.restore(saved, model, optimizers)


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"config.json": {}}'])
def test_a_manifest_that_lists_nothing_vouches_for_nothing(saved: Path, content: str) -> None:
    (saved / "manifest.json").write_text(content)
    with pytest.raises(CheckpointError, match="no manifest.json that lists its files"):
        checkpoint.verify(saved)


def test_what_is_no_checkpoint_is_not_taken_for_one(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoints/step_copy").mkdir()
    (tmp_path / "checkpoints/step_00000099").touch()
    assert checkpoint.steps(tmp_path) == [saved]


def test_a_half_written_checkpoint_is_not_taken_for_one_and_goes_with_the_next(
    saved: Path, model: GPT2, tmp_path: Path
) -> None:
    partial = tmp_path / "checkpoints/step_00000008.partial"
    partial.mkdir()
    assert checkpoint.newest(tmp_path) == saved
    state = dataclasses.replace(STATE, step=9)
    checkpoint.save(tmp_path, model, trained(model, "adamw"), state, keep_last=2)
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
    assert checkpoint.model_directory(str(tmp_path)) == str(saved)
    assert checkpoint.model_directory(str(saved)) == str(saved)
    assert checkpoint.model_directory("gpt2") == "gpt2"


def test_a_run_without_checkpoints_is_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        checkpoint.newest(tmp_path)
