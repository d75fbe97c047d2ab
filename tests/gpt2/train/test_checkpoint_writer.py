import threading
from pathlib import Path

import pytest

from gpt2.config import CheckpointConfig
from gpt2.errors import CheckpointError
from gpt2.files.checkpoint import Snapshot, write_checkpoint
from gpt2.files.pretrained import GPT2
from gpt2.files.run_directory import list_checkpoints, newest_checkpoint
from gpt2.files.training_state import TrainingState
from gpt2.train.checkpoint_writer import checkpoint_writer


def snapshot(model: GPT2, step: int) -> Snapshot:
    return Snapshot(model, {}, [], TrainingState(step=step))


def test_a_checkpoint_is_written_while_the_caller_goes_on_and_never_two_at_once(
    model: GPT2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, go_on, writing, most = write_checkpoint, threading.Event(), [], []

    def slow_write(run: Path, taken: Snapshot) -> None:
        writing.append(taken.state.step)
        most.append(len(writing))
        assert go_on.wait(60)
        write(run, taken)
        writing.remove(taken.state.step)

    monkeypatch.setattr("gpt2.train.checkpoint_writer.write_checkpoint", slow_write)
    with checkpoint_writer(tmp_path, CheckpointConfig(keep_last=2)) as saver:
        saver.save(snapshot(model, 1))  # returns, although nothing is written yet
        assert list_checkpoints(tmp_path) == []
        go_on.set()
        saver.save(snapshot(model, 2))
        assert [path.name for path in list_checkpoints(tmp_path)][:1] == ["step_00000001"]
    assert newest_checkpoint(tmp_path).name == "step_00000002"
    assert most == [1, 1]


def test_a_kill_at_any_time_after_the_call_leaves_a_trace_of_the_checkpoint(
    model: GPT2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, go_on = write_checkpoint, threading.Event()

    def late_write(run: Path, taken: Snapshot) -> None:
        assert go_on.wait(60)
        write(run, taken)

    monkeypatch.setattr("gpt2.train.checkpoint_writer.write_checkpoint", late_write)
    with checkpoint_writer(tmp_path, CheckpointConfig()) as saver:
        saver.save(snapshot(model, 1))
        assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == [
            "step_00000001.partial"
        ]
        go_on.set()


def test_no_thread_is_left_that_could_abort_the_process_when_it_ends(
    model: GPT2, tmp_path: Path
) -> None:
    threads = threading.active_count()
    with checkpoint_writer(tmp_path, CheckpointConfig()) as saver:
        saver.save(snapshot(model, 1))
    assert threading.active_count() == threads


def test_a_failure_is_told_and_does_not_end_the_run_but_the_last_one_does(
    model: GPT2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write, fails = write_checkpoint, iter([True, False, True])

    def sometimes(run: Path, taken: Snapshot) -> None:
        if next(fails):
            raise CheckpointError("could not save it: No space left on device")
        write(run, taken)

    monkeypatch.setattr("gpt2.train.checkpoint_writer.write_checkpoint", sometimes)
    with (
        pytest.raises(CheckpointError, match="No space left on device; make room, and continue"),
        checkpoint_writer(tmp_path, CheckpointConfig(keep_last=2)) as saver,
    ):
        saver.save(snapshot(model, 1))
        saver.wait()
        assert "No space left on device" in capsys.readouterr().err
        saver.save(snapshot(model, 2))
        saver.save(snapshot(model, 3))
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step_00000002"]
