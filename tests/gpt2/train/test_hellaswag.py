"""HellaSwag while a run trains: as evaluated alone, whatever the ranks; and what a run refuses."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gpt2.config import EvaluationConfig, RunConfig
from gpt2.errors import ConfigError, DataError
from gpt2.evaluate.hellaswag import HellaSwagRow, checked_row, hellaswag
from gpt2.evaluate.scoring import Scorer
from gpt2.files.pretrained import GPT2
from gpt2.files.run_directory import newest_checkpoint
from gpt2.train.distributed import Processes
from gpt2.train.hellaswag import HUB, hellaswag_accuracy, hellaswag_rows
from gpt2.train.metrics import read_metrics
from gpt2.train.run import resume, start

CPU = torch.device("cpu")


def row(number: int) -> dict[str, Any]:
    context = "Permission to use " * number
    endings = ["sell", "copies of", "the Software to", "and"]
    parts = {"ctx_a": context, "ctx_b": "", "ctx": context, "endings": endings}
    return {"activity_label": "Using", "label": number % 4, **parts}


ROWS = [row(number) for number in range(7)]


def checked(rows: list[dict[str, Any]]) -> list[HellaSwagRow]:
    return [checked_row("a row", row) for row in rows]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "hellaswag.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


class Share(Processes):
    """One of several processes, whose sums the test adds up; another makes five passes."""

    def sum(self, value: float) -> float:
        return value

    def max(self, value: float) -> float:
        return max(value, 5)


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_ranks_divide_the_rows_and_find_the_accuracy_of_one(model: GPT2, count: int) -> None:
    figures = hellaswag(Scorer(model), [("a row", row) for row in ROWS]).figures
    evaluate = hellaswag_accuracy(checked(ROWS), model.require_tokenizer(), batch_rows=1)
    shares = [evaluate(model, Share(CPU, rank, count)) for rank in range(count)]
    for name in ("acc", "acc_norm"):
        total = sum(share[f"hellaswag_{name}"] for share in shares)
        assert total == pytest.approx(figures[f"completion_{name}"])
        assert 0 < total < 1


def test_passes_of_a_compiled_model_are_not_compiled(model: GPT2) -> None:
    evaluate = hellaswag_accuracy(checked(ROWS), model.require_tokenizer(), batch_rows=1)
    plain = evaluate(model, Processes(CPU))
    compiled: list[Any] = []

    def backend(graph: torch.fx.GraphModule, inputs: Any) -> Callable[..., Any]:
        compiled.append(graph)
        return graph.forward

    model.compile(backend=backend)
    assert evaluate(model, Processes(CPU)) == plain
    assert not compiled
    with torch.no_grad():
        model(torch.tensor([[1, 2]]))
    assert compiled  # elsewhere it is


def test_a_loss_that_is_not_finite_makes_the_accuracy_unknown(model: GPT2) -> None:
    evaluate = hellaswag_accuracy(checked(ROWS), model.require_tokenizer(), batch_rows=1)
    with torch.no_grad():
        model.ln_f.weight.fill_(math.nan)
    found = evaluate(model, Processes(CPU))
    assert all(math.isnan(value) for value in found.values())


def measured(config: RunConfig, file: Path, rows: int | None = None) -> RunConfig:
    evaluation = replace(config.evaluation, hellaswag=str(file), hellaswag_rows=rows)
    return replace(config, evaluation=evaluation)


def test_a_run_records_and_shows_the_accuracy_and_trains_as_without(
    config: RunConfig, file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    start(config, tmp_path / "plain")
    capsys.readouterr()
    monkeypatch.chdir(tmp_path)
    start(measured(config, Path(file.name), 5), tmp_path / "run")
    shown = capsys.readouterr().err
    rows = [row for row in read_metrics(tmp_path / "run") if "val_loss" in row]
    checkpoint = newest_checkpoint(tmp_path / "run")
    found = hellaswag(
        Scorer(GPT2.from_pretrained(checkpoint)), [("a row", row) for row in ROWS[:5]]
    ).figures
    assert len(rows) == 3
    assert rows[-1]["hellaswag_acc"] == pytest.approx(found["completion_acc"])
    assert rows[-1]["hellaswag_acc_norm"] == pytest.approx(found["completion_acc_norm"])
    assert f"HellaSwag {rows[-1]['hellaswag_acc_norm']:.4f}" in shown
    weights = newest_checkpoint(tmp_path / "plain") / "model.safetensors"
    assert (checkpoint / "model.safetensors").read_bytes() == weights.read_bytes()
    monkeypatch.chdir("/")
    resume(tmp_path / "run")  # it is finished; the file is named by its whole path
    assert f'hellaswag = "{file}"' in (tmp_path / "run/config.toml").read_text()


def test_rows_are_of_a_file_or_of_the_hub(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hellaswag_rows(EvaluationConfig(hellaswag=str(file), hellaswag_rows=2))[1].label == 1
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="'Rowan/hellaswag' is not in the cache"):
        hellaswag_rows(EvaluationConfig(hellaswag=HUB))


def test_what_cannot_be_measured_is_refused_at_the_start(
    config: RunConfig, file: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(DataError, match="cannot read .*missing.jsonl: No such file"):
        start(measured(config, tmp_path / "missing.jsonl"), run)
    small = replace(config, model=replace(config.model, vocab_size=299))
    with pytest.raises((ConfigError, DataError)):
        start(measured(small, file), run)
    file.write_text(json.dumps(ROWS[0] | {"endings": ["a", "b", "c", "sell " * 20]}))
    with pytest.raises(ConfigError, match="with endings of at most 16 tokens"):
        start(measured(config, file), run)
    file.write_text("")
    with pytest.raises(ConfigError, match="evaluation.hellaswag must have rows"):
        start(measured(config, file), run)
    assert not run.exists()
    with pytest.raises(ConfigError, match="evaluation.hellaswag_rows must be at least 1, got 0"):
        measured(config, file, 0)
