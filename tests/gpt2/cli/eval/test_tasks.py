"""`gpt2 eval` of questions with right answers: files, the hub, limits and bad rows."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gpt2.cli.main import main
from gpt2.files.pretrained import GPT2

Hub = Any  # of conftest.py
Measure = Callable[..., dict[str, Any]]

ENDINGS = ["sell copies", "merge", "use it", "publish"]
ROWS: dict[str, dict[str, Any]] = {
    "hellaswag": {
        "activity_label": "Granting", "ctx_a": "To any person.", "ctx_b": "they",
        "ctx": "To any person. they", "endings": ENDINGS, "label": 1,
    },
    "lambada": {"text": "Permission is granted to any person"},
    "multiple-choice": {"query": "Permission to", "choices": ENDINGS, "gold": 0},
    "cloze": {"context": "Permission is", "continuation": " hereby granted"},
}  # fmt: skip
FIGURES = {
    "hellaswag": {"acc", "acc_norm", "completion_acc", "completion_acc_norm"},
    "lambada": {"accuracy", "last_token_accuracy", "perplexity"},
    "multiple-choice": {"acc", "acc_norm"},
    "cloze": {"accuracy", "perplexity"},
}


@pytest.fixture
def stored(model: GPT2, tmp_path: Path) -> str:
    model.save_pretrained(tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def measure(stored: str, capsys: pytest.CaptureFixture[str]) -> Measure:
    def run(name: str, *args: str) -> dict[str, Any]:
        assert main(["eval", name, "--model", stored, "--json", *args]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return run


def write(path: Path, name: str, count: int) -> str:
    path.write_text((json.dumps(ROWS[name]) + "\n") * count)
    return str(path)


@pytest.mark.parametrize("name", ROWS)
def test_files_are_measured_together_up_to_the_limit(
    name: str, measure: Measure, tmp_path: Path
) -> None:
    files = [write(tmp_path / f"{k}.jsonl", name, k + 1) for k in range(2)]
    found = measure(name, "--data", *files)
    assert (found["evaluation"], found["rows"]) == (name, 3)
    assert found["standard_errors"].keys() == FIGURES[name]
    assert [data[0] for data in found["data"]] == files
    assert all(len(data[1]) == 64 for data in found["data"])
    assert measure(name, "--data", *files, "--limit", "2")["rows"] == 2


def test_without_data_the_rows_on_the_hub_are_taken(measure: Measure, hub_server: Hub) -> None:
    for repository, folder, name in (
        ("Rowan/hellaswag", "default/validation", "hellaswag"),
        ("EleutherAI/lambada_openai", "default/test", "lambada"),
    ):
        path = hub_server.folder / "datasets" / repository / folder / "0000.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist([ROWS[name]]), path)
        (hub_server.folder / "datasets" / repository / ".gitattributes").write_text("text")
        found = measure(name)
        assert found["rows"] == 1
        assert found["data"][0][0] == f"{repository}/{folder}/0000.parquet"


def test_the_table_has_references_and_notes(
    stored: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "rows.jsonl", "hellaswag", 2)
    assert main(["eval", "hellaswag", "--model", stored, "--data", data]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("# acc, acc_norm: as lm-eval")
    [line] = [line for line in lines if line.startswith("completion_acc_norm")]
    assert line.split()[-4:] == ["0.2945", "0.3752", "0.4320", "0.4889"]
    data = write(tmp_path / "rows.jsonl", "lambada", 2)
    assert main(["eval", "lambada", "--model", stored, "--data", data, "--stop-words"]) == 0
    out = capsys.readouterr().out
    assert "a stop word" in out
    assert "accuracy_filtered" in out


@pytest.mark.parametrize("name", ROWS)
def test_progress_counts_rows(
    name: str, stored: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"contexts": ["Permission is", "To any"], "continuation": " granted", "gold": 0}
    data = Path(write(tmp_path / "rows.jsonl", name, 3))
    if name == "multiple-choice":
        data.write_text(data.read_text() + json.dumps(row))
    assert main(["eval", name, "--model", stored, "--data", str(data)]) == 0
    rows = 4 if name == "multiple-choice" else 3
    assert f"{rows} of {rows} rows, " in capsys.readouterr().err


def test_mistakes_are_one_line(
    stored: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text(json.dumps(ROWS["cloze"]) + '\n{"context": "a"}\n')
    command = ["eval", "cloze", "--model", stored, "--data"]
    for args, code, message in (
        ([str(data)], 1, f"{data}, line 2 must have the key 'continuation', it has context"),
        ([str(data), "--limit", "0"], 2, "limit must be at least 1, got 0"),
        (["missing.jsonl"], 1, "cannot read missing.jsonl: No such file"),
    ):
        assert main([*command, *args]) == code
        assert message in capsys.readouterr().err
