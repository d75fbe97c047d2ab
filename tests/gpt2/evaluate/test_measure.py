"""Measuring: progress, and rows that a later start goes on from."""

import errno
import io
import json
from contextlib import suppress
from pathlib import Path

import pytest

from gpt2.errors import NotFiniteError
from gpt2.evaluate.measure import KeptRows, Numbers, measure
from gpt2.evaluate.packing import Question
from gpt2.evaluate.scoring import Score, Scorer
from gpt2.files.pretrained import GPT2

QUESTIONS = [Question([1] * n, [[2, 3]]) for n in (3, 20, 9, 14)]
IDENTITY = {"evaluation": "a test"}


def totals(number: int, scores: list[Score]) -> Numbers:
    return [float(number), scores[0].total]


@pytest.fixture
def scorer(model: GPT2) -> Scorer:
    return Scorer(model)


def test_numbers_come_in_the_order_of_the_questions(scorer: Scorer) -> None:
    found = measure(scorer, QUESTIONS, totals)
    assert [number for number, _ in found] == [0, 1, 2, 3]
    alone = [measure(scorer, [question], totals)[0][1] for question in QUESTIONS]
    assert [total for _, total in found] == pytest.approx(alone, rel=1e-5)


def test_progress_is_counted_in_the_weights_of_the_questions(scorer: Scorer) -> None:
    shown: list[tuple[float, float]] = []
    measure(
        scorer,
        QUESTIONS,
        totals,
        weights=[3, 20, 9, 14],
        show=lambda done, total: shown.append((done, total)),
    )
    assert shown == [(0, 46), (20, 46), (34, 46), (43, 46), (46, 46)]  # the longest comes first


def stopped(path: Path, rows: dict[int, Numbers]) -> None:
    """Leave what an evaluation leaves that is stopped after some rows."""
    with suppress(KeyboardInterrupt), KeptRows(path, IDENTITY, resume=False) as kept:
        for number, numbers in rows.items():
            kept.add(number, numbers)
        raise KeyboardInterrupt


def test_rows_that_are_done_are_not_scored_again(scorer: Scorer, tmp_path: Path) -> None:
    stopped(tmp_path / "rows", {1: [1.0, 0.25]})
    shown: list[tuple[float, float]] = []
    with KeptRows(tmp_path / "rows", IDENTITY, resume=True) as kept:
        found = measure(
            scorer, QUESTIONS, totals, kept=kept, show=lambda *numbers: shown.append(numbers)
        )
    assert found[1] == [1.0, 0.25]
    assert shown == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert found[0] == pytest.approx(measure(scorer, QUESTIONS, totals)[0], rel=1e-5)


def test_a_full_disk_does_not_end_the_evaluation(scorer: Scorer, tmp_path: Path) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            super().close()
            raise OSError(errno.ENOSPC, "No space left on device")

    with KeptRows(tmp_path / "rows.jsonl", IDENTITY, resume=False) as kept:
        kept._file.close()
        kept._file = Full()  # type: ignore[assignment]
        found = measure(scorer, QUESTIONS, totals, kept=kept)
    assert [number for number, _ in found] == [0, 1, 2, 3]


def test_what_is_done_outlives_a_failure(model: GPT2, tmp_path: Path) -> None:
    def fails_at_last(number: int, scores: list[Score]) -> Numbers:
        if number == 0:
            raise NotFiniteError("the last one")
        return totals(number, scores)

    with pytest.raises(NotFiniteError), KeptRows(tmp_path / "rows", IDENTITY, resume=False) as kept:
        measure(Scorer(model), QUESTIONS, fails_at_last, kept=kept)
    with KeptRows(tmp_path / "rows", IDENTITY, resume=True) as kept:
        assert sorted(kept.rows) == [1, 2, 3]


@pytest.mark.parametrize(
    ("content", "numbers"),
    [
        ('{"evaluation": "a test"}\n[0, 1.5]\n[2, 2.5]\n', [0, 2]),
        ('{"evaluation": "a test"}\n[0, 1.5]\n[2, 2', [0]),  # cut short
        ('{"evaluation": "another"}\n[0, 1.5]\n', []),
        ("no JSON\n", []),
        ("", []),
        (None, []),
    ],
)
def test_only_whole_rows_of_the_same_evaluation_count(
    content: str | None, numbers: list[int], tmp_path: Path
) -> None:
    path = tmp_path / "folder" / "rows"
    if content is not None:
        path.parent.mkdir()
        path.write_text(content, encoding="utf-8")
    with suppress(KeyboardInterrupt), KeptRows(path, IDENTITY, resume=True) as kept:
        assert sorted(kept.rows) == numbers
        kept.add(3, [0.5])
        raise KeyboardInterrupt
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert lines[0] == IDENTITY
    assert [number for number, *_ in lines[1:]] == [*numbers, 3]


def test_without_resuming_the_rows_of_an_earlier_start_are_dropped(tmp_path: Path) -> None:
    stopped(tmp_path / "rows", {0: [1.0]})
    with KeptRows(tmp_path / "rows", IDENTITY, resume=False) as kept:
        assert kept.rows == {}


def test_nothing_is_left_of_an_evaluation_that_is_done(tmp_path: Path) -> None:
    with KeptRows(tmp_path / "rows", IDENTITY, resume=False) as kept:
        kept.add(0, [1.0])
    assert not list(tmp_path.iterdir())
