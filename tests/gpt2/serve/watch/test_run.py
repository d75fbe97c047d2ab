"""A run is followed by its files, however they change."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from gpt2.config import RECIPES, RunConfig
from gpt2.serve.watch import run as watched
from gpt2.serve.watch.run import RunWatch, best_step
from gpt2.train.metrics import read_metrics
from gpt2.train.normality.verdict import judge
from gpt2.visual.losses import losses_of

NOW = 4e9  # seconds since 1970: later than any file is written


@pytest.fixture
def watch(written: Any) -> RunWatch:
    return RunWatch(written.directory, "run")


def parts(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The parts that events replace, by name; there is nothing else in them."""
    assert all(event["kind"] == "part" for event in events)
    return {event["part"]: event["value"] for event in events}


def whole(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The state in the one event there is."""
    [event] = events
    assert event["kind"] == "all"
    json.dumps(event, allow_nan=False)
    return event["state"]


def test_a_run_that_is_not_there_yet_is_waited_for(watch: RunWatch, written: Any) -> None:
    state = whole(watch.look(NOW))
    assert state == {
        "name": "run",
        "directory": str(written.directory),
        "settings": {},
        "rows": [],
        "held_out": [],
        "band": [],
        "checkpoints": [],
        "moments": [],
        "evaluations": [],
        "skipped": [],
        "changes": [],
        "notes": [],
        "status": {
            "phase": "waiting",
            "step": 0,
            "steps": None,
            "seconds_left": None,
            "silent_seconds": None,
            "tokens_per_second": None,
            "mfu": None,
        },
    }
    assert watch.look(NOW + 1) == []
    written.begin()
    changed = parts(watch.look(NOW + 2))
    assert changed.keys() == {"settings", "status"}
    assert changed["status"]["steps"] == changed["settings"]["steps"] == 6


def test_new_steps_come_as_rows_and_half_a_row_waits(watch: RunWatch, written: Any) -> None:
    written.begin()
    watch.look(NOW)
    line = json.dumps(written.step_row(2))
    written.append(written.step_row(1))
    written.append_text(line[:30])
    rows, status = watch.look(NOW + 1)
    assert rows == {"kind": "rows", "rows": [written.step_row(1)]}
    assert status["part"] == "status"
    assert status["value"] == {
        "phase": "training",
        "step": 1,
        "steps": 6,
        "seconds_left": 5 * 0.5,
        "silent_seconds": 0,
        "tokens_per_second": 128,
        "mfu": 0.25,
    }
    assert watch.look(NOW + 2) == []
    written.append_text(line[30:] + "\n")
    assert watch.look(NOW + 3)[0] == {"kind": "rows", "rows": [written.step_row(2)]}
    assert watch.state()["rows"] == [written.step_row(1), written.step_row(2)]


def test_an_evaluation_comes_with_its_samples(watch: RunWatch, written: Any) -> None:
    written.begin()
    written.append(written.step_row(1), written.step_row(2))
    watch.look(NOW)
    sample = {"prompt": "A", "text": "</script> \ud800"}
    row = written.held_out_row(2, 5.5) | {"samples": [sample], "hellaswag_acc_norm": 0.25}
    written.append(row)
    assert parts(watch.look(NOW + 1))["held_out"] == [row]


def test_a_run_that_is_resumed_drops_rows_and_all_is_sent(watch: RunWatch, written: Any) -> None:
    written.begin()
    written.append(
        *(
            written.step_row(1),
            written.step_row(2),
            written.held_out_row(2, 5.5),
            written.step_row(3, skipped=True, loss=None),
        )
    )
    state = whole(watch.look(NOW))
    assert (len(state["rows"]), state["skipped"], state["notes"]) == (3, [3], [])
    written.replace(written.step_row(1), written.step_row(2), written.held_out_row(2, 5.5))
    state = whole(watch.look(NOW + 1))
    assert [row["step"] for row in state["rows"]] == [1, 2]
    assert (len(state["held_out"]), state["skipped"]) == (1, [])
    changed = {"step": 2, "changed": {"optimizer.learning_rate": ["0.01", "0.02"]}}
    written.append(changed, written.step_row(3))
    events = watch.look(NOW + 2)
    assert events[0] == {"kind": "rows", "rows": [written.step_row(3)]}
    assert parts(events[1:])["changes"] == [changed]


def test_metrics_that_are_removed_leave_nothing(watch: RunWatch, written: Any) -> None:
    written.begin()
    written.append(written.step_row(1), written.held_out_row(1, 5.5))
    watch.look(NOW)
    (written.directory / "metrics.jsonl").unlink()
    state = whole(watch.look(NOW + 1))
    assert (state["rows"], state["held_out"], state["status"]["phase"]) == ([], [], "waiting")


def test_a_run_directory_that_is_removed_is_waited_for_again(watch: RunWatch, written: Any) -> None:
    written.begin()
    written.append(written.step_row(1))
    written.checkpoint(1)
    watch.look(NOW)
    shutil.rmtree(written.directory)
    state = whole(watch.look(NOW + 1))
    assert state["settings"] == {}
    assert (state["rows"], state["checkpoints"]) == ([], [])


def test_many_new_steps_are_sent_as_all(
    watch: RunWatch, written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched, "MOST_ROWS", 2)
    written.begin()
    watch.look(NOW)
    written.append(written.step_row(1), written.step_row(2), written.step_row(3))
    assert len(whole(watch.look(NOW + 1))["rows"]) == 3


def test_damaged_lines_are_left_out_with_a_note(watch: RunWatch, written: Any) -> None:
    written.begin()
    written.append(written.step_row(1))
    written.append_text("{oh\n")
    written.append(written.step_row(2))
    state = whole(watch.look(NOW))
    assert [row["step"] for row in state["rows"]] == [1, 2]
    assert state["notes"] == ["metrics.jsonl: a line is damaged and left out"]
    written.append_text("[]\n")
    assert parts(watch.look(NOW + 1))["notes"] == [
        "metrics.jsonl: 2 lines are damaged and left out"
    ]


def test_damaged_settings_are_noted_and_read_again(watch: RunWatch, written: Any) -> None:
    written.begin()
    written.append(written.step_row(1))
    settings = written.directory / "config.toml"
    whole_settings = settings.read_text()
    settings.write_text("[training]\nstep")  # half of it, as another program may write it
    state = whole(watch.look(NOW))
    assert state["settings"] == {}
    assert "config.toml is not valid TOML" in state["notes"][0]
    settings.write_text(whole_settings)
    changed = parts(watch.look(NOW + 1))
    assert (changed["notes"], changed["settings"]["steps"]) == ([], 6)


def test_settings_of_another_version_leave_the_rows_readable(watch: RunWatch, written: Any) -> None:
    written.begin()
    written.append_text("\n[novel]\nkey = 1\n", name="config.toml")
    written.append(written.step_row(1))
    state = whole(watch.look(NOW))
    assert len(state["rows"]) == 1
    assert "novel" in state["notes"][0]


def test_a_file_that_cannot_be_read_is_noted_and_its_rows_stay(
    watch: RunWatch, written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    written.begin()
    written.append(written.step_row(1))
    watch.look(NOW)
    written.append(written.step_row(2))
    with monkeypatch.context() as context:

        def fail(path: Path, *args: Any) -> None:
            raise OSError(116, "Stale file handle")

        context.setattr(Path, "open", fail)
        assert parts(watch.look(NOW + 1))["notes"] == [
            "metrics.jsonl cannot be read: Stale file handle"
        ]
    events = watch.look(NOW + 2)
    assert events[0] == {"kind": "rows", "rows": [written.step_row(2)]}
    assert parts(events[1:])["notes"] == []


def test_rows_of_an_old_version_may_lack_figures(watch: RunWatch, written: Any) -> None:
    written.begin()
    written.append({"step": 1, "loss": 2.0})
    watch.look(NOW)
    written.append({"step": 2, "loss": 1.5}, {"step": 2, "val_loss": 1.75})
    events = watch.look(NOW + 1)
    assert events[0]["rows"] == [{"step": 2, "loss": 1.5}]
    assert parts(events[1:])["held_out"] == [{"step": 2, "val_loss": 1.75}]


def test_checkpoints_come_and_go(watch: RunWatch, written: Any) -> None:
    written.begin()
    written.append(
        written.step_row(2),
        written.held_out_row(2, 4.5),
        written.step_row(4),
        written.held_out_row(4, 5.5),
    )
    first = written.checkpoint(2)
    watch.look(NOW)
    size = 5 + len('{"model": {"bytes": 5}}')
    first_entry = {"step": 2, "bytes": size, "is_complete": True, "is_best": True}
    assert watch.state()["checkpoints"] == [first_entry]

    partial = written.checkpoint(4, suffix=".partial")  # being written
    second_entry = {"step": 4, "bytes": size, "is_complete": False, "is_best": False}
    assert parts(watch.look(NOW + 1))["checkpoints"] == [first_entry, second_entry]

    partial.rename(partial.with_suffix(""))
    second_entry |= {"is_complete": True}
    assert parts(watch.look(NOW + 2)) == {"checkpoints": [first_entry, second_entry]}

    first.rename(first.with_name(first.name + ".partial"))  # being removed
    assert parts(watch.look(NOW + 3)) == {"checkpoints": [second_entry]}


def test_a_checkpoint_that_lacks_bytes_is_not_complete_until_they_are_there(
    watch: RunWatch, written: Any
) -> None:
    written.begin()
    path = written.checkpoint(2, whole=False)
    assert not whole(watch.look(NOW))["checkpoints"][0]["is_complete"]
    (path / "model").write_bytes(b"12345")
    assert parts(watch.look(NOW + 1))["checkpoints"][0]["is_complete"]


def test_a_complete_checkpoint_is_looked_into_once(
    watch: RunWatch, written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    written.begin()
    written.checkpoint(2)
    watch.look(NOW)
    monkeypatch.setattr(Path, "read_text", lambda *args, **options: pytest.fail("read again"))
    assert watch.look(NOW + 1) == []


def test_the_best_checkpoint_is_the_first_of_the_lowest_held_out_loss(written: Any) -> None:
    rows = [
        written.held_out_row(1, None),
        written.held_out_row(2, 4.0),
        written.held_out_row(3, 3.5),
        written.held_out_row(4, 3.5),
    ]
    assert best_step(rows) == 3
    assert best_step(rows[:1]) is None


def test_moments_are_listed_and_may_vanish(watch: RunWatch, written: Any) -> None:
    written.begin()
    written.moment(0)
    later = written.moment(12)
    assert whole(watch.look(NOW))["moments"] == [0, 12]
    later.unlink()
    assert parts(watch.look(NOW + 1)) == {"moments": [0]}


def test_evaluations_grow_and_of_a_repeated_one_the_last_counts(
    watch: RunWatch, written: Any
) -> None:
    written.begin()
    row = {"evaluation": "lambada", "model": "run", "step": 6, "accuracy": 0.25}
    watch.look(NOW)
    written.append(row, name="evaluations.jsonl")
    assert parts(watch.look(NOW + 1)) == {"evaluations": [row]}
    written.append(row | {"accuracy": 0.5}, name="evaluations.jsonl")
    assert parts(watch.look(NOW + 2)) == {"evaluations": [row | {"accuracy": 0.5}]}
    written.append(row | {"step": "six"}, name="evaluations.jsonl")
    [note] = parts(watch.look(NOW + 3))["notes"]
    assert note.startswith("evaluations.jsonl: a line: step must be a number of steps")


def test_a_run_that_stops_becomes_silent_and_goes_on(watch: RunWatch, written: Any) -> None:
    written.begin(steps=600)
    watch.look(NOW)
    written.append(written.step_row(1))
    watch.look(NOW + 1)
    # 15 seconds and 10 steps of half a second
    assert parts(watch.look(NOW + 21))["status"]["phase"] == "training"
    assert parts(watch.look(NOW + 22))["status"] == {
        "phase": "silent",
        "step": 1,
        "steps": 600,
        "seconds_left": 599 * 0.5,
        "silent_seconds": 20,
        "tokens_per_second": 128,
        "mfu": 0.25,
    }
    written.append(written.step_row(2))
    _, status = watch.look(NOW + 23)
    assert status["value"]["phase"] == "training"


def test_a_checkpoint_that_grows_is_a_sign_of_life(watch: RunWatch, written: Any) -> None:
    written.begin(steps=600)
    watch.look(NOW)
    written.append(written.step_row(1))
    watch.look(NOW + 1)
    path = written.checkpoint(1, suffix=".partial")
    watch.look(NOW + 3)
    (path / "more").write_bytes(b"1234567")
    watch.look(NOW + 5)
    assert parts(watch.look(NOW + 24)) == {"status": watch.state()["status"]}
    assert watch.state()["status"]["phase"] == "training"  # 19 s, not 23


def test_the_first_look_takes_the_silence_from_the_times_of_the_files(
    watch: RunWatch, written: Any
) -> None:
    written.begin(steps=600)
    written.append(written.step_row(1))
    written_at = (written.directory / "metrics.jsonl").stat().st_mtime
    state = whole(watch.look(written_at + 3605))  # silence is counted by tens
    assert (state["status"]["phase"], state["status"]["silent_seconds"]) == ("silent", 3600)


def test_a_disk_whose_clock_is_ahead_makes_no_negative_silence(
    watch: RunWatch, written: Any
) -> None:
    written.begin(steps=600)
    written.append(written.step_row(1))
    assert whole(watch.look(1e9))["status"]["silent_seconds"] == 0


def test_a_run_ends_with_its_report(watch: RunWatch, written: Any) -> None:
    written.begin()
    written.append(*map(written.step_row, range(1, 7)), written.held_out_row(6, 3.0))
    assert whole(watch.look(NOW))["status"]["phase"] == "ended"  # long ago
    watch = RunWatch(written.directory, "run")
    state = whole(watch.look((written.directory / "metrics.jsonl").stat().st_mtime))
    assert state["status"]["phase"] == "training"
    (written.directory / "report.md").write_text("")
    assert parts(watch.look(NOW + 1))["status"]["phase"] == "ended"


def test_the_band_is_that_of_the_verdict(written: Any) -> None:
    config = RunConfig.from_toml(RECIPES / "demo.toml")
    written.begin(config, steps=900)
    written.append(
        *(written.held_out_row(step, 5.0) for step in (100, 200, 900)),
        written.held_out_row(900, None),
    )
    watch = RunWatch(written.directory, "run")
    band = whole(watch.look(NOW))["band"]
    assert len(band) == 3
    assert band == [list(each) for each in judge(written.directory).band]


def test_nothing_is_written_or_locked(written: Any) -> None:
    written.begin()
    written.append(written.step_row(1), written.held_out_row(1, 4.0))
    written.checkpoint(1)
    written.moment(1)
    before = {path: path.stat().st_mtime_ns for path in written.directory.rglob("*")}
    watch = RunWatch(written.directory, "run")
    watch.look(NOW)
    watch.look(NOW + 1)
    after = {path: path.stat().st_mtime_ns for path in written.directory.rglob("*")}
    assert after == before


def test_the_rows_are_those_that_the_pictures_draw(written: Any) -> None:
    written.begin(steps=600)
    written.append(*(written.step_row(step, loss=5 / step) for step in range(1, 601)))
    watch = RunWatch(written.directory, "run")
    rows = whole(watch.look(NOW))["rows"]
    losses = losses_of(read_metrics(written.directory))
    assert [row["step"] for row in rows] == losses.steps.tolist()
    assert [row["loss"] for row in rows] == pytest.approx(losses.loss.tolist(), rel=1e-5)
