import errno
import io
from pathlib import Path
from typing import Any

import pytest

from gpt2.errors import CheckpointError
from gpt2.train.metrics import MetricsLog, read_metrics


def rows(*steps: int) -> list[dict[str, float]]:
    return [{"step": step, "loss": step / 2} for step in steps]


def write(run: Path, last_step: int, *steps: int) -> None:
    with MetricsLog(run, last_step) as log:
        for row in rows(*steps):
            log.write(row)


def test_rows_come_back_in_order(tmp_path: Path) -> None:
    write(tmp_path, 0, 1, 2, 3)
    assert read_metrics(tmp_path) == rows(1, 2, 3)


def test_a_resumed_run_drops_the_rows_that_will_come_again(tmp_path: Path) -> None:
    write(tmp_path, 0, 1, 2, 3)
    write(tmp_path, 2, 3, 4)
    assert read_metrics(tmp_path) == rows(1, 2, 3, 4)


def test_a_line_that_a_crash_cut_short_is_left_out_and_repaired(tmp_path: Path) -> None:
    write(tmp_path, 0, 1, 2)
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text() + '{"step": 3, "lo')
    assert read_metrics(tmp_path) == rows(1, 2)
    write(tmp_path, 2, 3)
    assert read_metrics(tmp_path) == rows(1, 2, 3)


def test_damage_elsewhere_is_told_with_its_line(tmp_path: Path) -> None:
    for damage in (b"broken", b"null", b"{}", b'{"step": "a"}', b"\xff"):
        (tmp_path / "metrics.jsonl").write_bytes(b'{"step": 1}\n' + damage + b'\n{"step": 2}\n')
        with pytest.raises(CheckpointError, match="line 2 is not a row of metrics"):
            read_metrics(tmp_path)


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ('"loss": "3.1"', "loss must be a number, got '3.1'"),
        ('"val_loss": [3]', "val_loss must be a number"),
        ('"mfu": "high"', "mfu must be a number"),
        ('"training_seconds": {}', "training_seconds must be a number"),
        ('"changed": ["optimizer.beta1"]', "changed must be a table"),
    ],
)
def test_a_figure_that_is_no_number_is_named_with_file_and_line(
    tmp_path: Path, row: str, wanted: str
) -> None:
    lines = '{"step": 1}\n{"step": 2, ' + row + "}\n"
    (tmp_path / "metrics.jsonl").write_text(lines)
    with pytest.raises(CheckpointError, match=f"metrics.jsonl, line 2: {wanted}"):
        read_metrics(tmp_path)


def test_a_run_that_has_not_begun_has_no_rows(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == []


def test_what_is_not_finite_is_null_since_json_has_no_nan(tmp_path: Path) -> None:
    with MetricsLog(tmp_path, 0) as log:
        log.write({"step": 1, "loss": float("nan"), "grad_norm": float("inf"), "mfu": 0.5})
    line = '{"step": 1, "loss": null, "grad_norm": null, "mfu": 0.5}\n'
    assert (tmp_path / "metrics.jsonl").read_text() == line


def test_on_a_full_disk_rows_wait_and_no_line_is_torn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class SmallDisk(io.FileIO):
        room = 45

        def write(self, content: Any) -> int:
            room = min(self.room - self.tell(), len(content))
            if room <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(content[:room])

    path = tmp_path / "metrics.jsonl"
    with MetricsLog(tmp_path, 0) as log:
        log._file.close()
        log._file = SmallDisk(path, "a")
        for row in rows(1, 2, 3):
            log.write(row)
        assert path.read_text() == '{"step": 1, "loss": 0.5}\n'
        assert capsys.readouterr().err.count("No space left on device; rows wait") == 1
        SmallDisk.room = 10**6
        log.write(rows(4)[0])
    assert read_metrics(tmp_path) == rows(1, 2, 3, 4)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e400"])
def test_a_number_that_is_not_finite_is_none_however_it_is_written(
    tmp_path: Path, value: str
) -> None:
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1, "val_loss": {value}}}\n')
    assert read_metrics(tmp_path) == [{"step": 1, "val_loss": None}]
