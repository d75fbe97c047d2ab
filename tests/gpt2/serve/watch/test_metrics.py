"""What metrics.jsonl says of a run is kept, and forgotten when it is another file."""

from typing import Any

from gpt2.serve.watch.metrics import Metrics, best_step


def test_steps_evaluations_and_changes_are_kept_apart(written: Any) -> None:
    written.begin()
    skipped = written.step_row(2, skipped=True, loss=None)
    held_out, changed = written.held_out_row(2, 5.5), {"step": 2, "changed": {"a.b": ["1", "2"]}}
    written.append(written.step_row(1), skipped, held_out, changed)
    written.append_text("{oh\n")
    metrics = Metrics(written.directory)
    steps, is_new = metrics.look()
    assert (steps, is_new, list(metrics.late)) == ([written.step_row(1), skipped], False, steps)
    assert (metrics.held_out, metrics.skipped, metrics.changes) == ([held_out], [2], [changed])
    assert metrics.notes() == ["metrics.jsonl: a line is damaged and left out"]


def test_another_file_leaves_nothing_of_the_one_before(written: Any) -> None:
    written.begin()
    written.append(written.step_row(1), written.held_out_row(1, 5.5))
    written.append_text("{oh\n")
    metrics = Metrics(written.directory)
    metrics.look()
    written.replace(written.step_row(1, loss=4.5))
    steps, is_new = metrics.look()
    assert (steps, is_new, metrics.just_started) == ([written.step_row(1, loss=4.5)], True, True)
    assert (metrics.held_out, metrics.notes()) == ([], [])
    assert [row["loss"] for row in metrics.points.to_rows()] == [4.5]


def test_the_best_checkpoint_is_the_first_of_the_lowest_held_out_loss(written: Any) -> None:
    rows = [
        written.held_out_row(1, None),
        written.held_out_row(2, 4.0),
        written.held_out_row(3, 3.5),
        written.held_out_row(4, 3.5),
    ]
    assert best_step(rows) == 3
    assert best_step(rows[:1]) is None
