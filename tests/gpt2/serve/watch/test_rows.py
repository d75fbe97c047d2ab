"""Which rows do lines hold? Damaged ones are left out; of very many a sample is read."""

import json
from itertools import pairwise

import pytest

from gpt2.serve.watch import rows
from gpt2.serve.watch.rows import Parsed, parse_lines, sample


def line(**row: object) -> bytes:
    return (json.dumps(row) + "\n").encode()


def test_the_rows_of_lines_are_in_order() -> None:
    content = line(step=1, loss=2.5) + line(step=2, loss=None, skipped=True)
    expected = [{"step": 1, "loss": 2.5}, {"step": 2, "loss": None, "skipped": True}]
    assert parse_lines(content) == Parsed(expected, 0)
    assert parse_lines(b"") == Parsed([], 0)


@pytest.mark.parametrize(
    "damaged",
    [
        b'{"step": 2, "lo\n',  # cut
        b"\n",
        b"\xff\xfe\n",
        b"[2]\n",
        b'{"loss": 2.0}\n',  # no step
        b'{"step": "2"}\n',
        b'{"step": true}\n',
        b'{"step": 2, "loss": "low"}\n',
        b'{"step": 2, "changed": 3}\n',
        b'{"step": 2}, {"step": 3}\n',  # which a list of lines would take for two rows
    ],
)
def test_a_damaged_line_is_counted_and_left_out(damaged: bytes) -> None:
    content = line(step=1) + damaged + line(step=4)
    assert parse_lines(content) == Parsed([{"step": 1}, {"step": 4}], 1)


def test_a_number_that_is_not_finite_becomes_none() -> None:
    content = b'{"step": 1, "loss": NaN}\n{"step": 2, "loss": Infinity}\n'
    assert parse_lines(content).rows == [{"step": 1, "loss": None}, {"step": 2, "loss": None}]


def long_run(steps: int) -> bytes:
    """Rows of steps; every 97th is evaluated, and two are skipped."""
    lines = []
    for step in range(1, steps + 1):
        more = {"skipped": True} if step in (12_345, 12_346) else {}
        lines.append(line(step=step, loss=1.0, tokens_per_second=1234.5, **more))
        if step % 97 == 0:
            lines.append(line(step=step, val_loss=2.0))
    return b"".join(lines)


def test_of_very_many_lines_a_sample_is_whole_lines_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rows, "PIECES", 50)
    monkeypatch.setattr(rows, "MOST_BYTES", 2**20)
    content = long_run(30_000)
    assert len(content) > 2**20
    found, damaged = parse_lines(content)
    steps = [row["step"] for row in found if "loss" in row]
    assert damaged == 0
    assert steps == sorted(set(steps))
    assert len(steps) < 8000  # few of 30,000


def test_a_sample_has_the_beginning_the_end_and_all_that_is_no_plain_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rows, "PIECES", 50)
    content = long_run(30_000)
    found = [json.loads(line) for line in sample(content).splitlines()]
    steps = [row["step"] for row in found if "loss" in row]
    assert steps[:50] == list(range(1, 51))
    assert steps[-500:] == list(range(29_501, 30_001))
    evaluated = [row["step"] for row in found if "val_loss" in row]
    assert evaluated == list(range(97, 30_001, 97))
    assert [row["step"] for row in found if "skipped" in row] == [12_345, 12_346]
    assert max(later - sooner for sooner, later in pairwise(steps)) < 700


def test_a_sample_of_few_lines_is_all_of_them() -> None:
    content = long_run(300)
    assert sample(content) == content
