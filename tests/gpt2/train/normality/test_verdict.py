"""The verdict on a run, by metrics that differ from the known ones in one thing."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gpt2.config import RECIPES, DataConfig, RunConfig
from gpt2.errors import CheckpointError
from gpt2.train.normality.data_facts import DataFacts
from gpt2.train.normality.known_ranges import (
    HELD_OUT,
    HELLASWAG,
    TRAINING,
    demo_bytes_per_token,
    known_ranges,
)
from gpt2.train.normality.verdict import BITS, EPOCHS, Verdict, judge, judge_metrics

DEMO = RunConfig.from_toml(RECIPES / "demo.toml")
LARGE = RunConfig.from_toml(RECIPES / "gpt2-124m-fineweb-edu.toml")
FACTS = DataFacts(
    source="stdlib-docs",
    train_tokens=532_375,
    bytes_per_token=demo_bytes_per_token(),
    unigram_nats=6.57,
)
KNOWN = known_ranges("demo", 900, 900)[HELD_OUT]
NORMAL = (KNOWN.low + KNOWN.high) / 2


def metrics(
    held_out: float, *, step: int = 900, train: float | None = None
) -> list[dict[str, Any]]:
    """Return the rows of a run whose training loss falls to the held-out one, or to another."""
    end = held_out - 0.1 if train is None else train
    start = math.log(4096)
    falling = (start - (start - end) * (1 - math.exp(-k / 30)) for k in range(step))
    rows: list[dict[str, Any]] = [
        {"step": k, "loss": loss, "learning_rate": 8e-3, "tokens": 4096 * k}
        for k, loss in enumerate(falling, start=1)
    ]
    return [*rows, {"step": step, "val_loss": held_out}]


def figures(verdict: Verdict) -> dict[str, float]:
    return {figure.name: figure.value for figure in verdict.figures}


def test_a_demo_within_the_band_is_normal() -> None:
    verdict = judge_metrics(DEMO, metrics(NORMAL), FACTS)
    assert verdict.line == (
        f"Normal: the held-out loss is {NORMAL:.3f} nats/token at step 900, the range of recipe "
        f"demo is {KNOWN}."
    )
    assert verdict.cause is None
    assert verdict.band == ((900, KNOWN.low, KNOWN.high),)
    found = figures(verdict)
    assert found[HELD_OUT] == NORMAL
    assert found[TRAINING] == pytest.approx(NORMAL - 0.1)
    assert found[BITS] == pytest.approx(NORMAL / math.log(2) / demo_bytes_per_token())
    assert found[EPOCHS] == pytest.approx(900 * 4096 / 532_375)


def test_a_demo_that_is_still_running_is_compared_at_its_step() -> None:
    there = known_ranges("demo", 900, 450)[HELD_OUT]
    verdict = judge_metrics(DEMO, metrics(there.high, step=450), FACTS)
    assert verdict.line.startswith("Normal: ")
    assert verdict.line.endswith(" At step 450 of 900 it is still running, or ended early.")
    assert judge_metrics(DEMO, metrics(KNOWN.low, step=450), FACTS).line.startswith("Lower than")


def test_a_run_that_diverged_is_not_within_because_it_was_before() -> None:
    there = known_ranges("demo", 900, 850)[HELD_OUT]
    rows = [*metrics(there.high, step=850), {"step": 900, "val_loss": None}]
    assert judge_metrics(DEMO, rows, FACTS).line == (
        "Not normal, most often because of a learning rate that is too high: the last held-out "
        "loss is not finite."
    )


def test_above_the_band_the_metrics_show_the_cause() -> None:
    verdict = judge_metrics(DEMO, metrics(NORMAL + 3, train=1.0), replace(FACTS, train_tokens=5000))
    assert verdict.line.startswith("Higher than normal: the held-out loss is ")
    assert "most often because of too few training tokens: they were read 737.3" in verdict.line


def test_above_the_band_without_a_sign_in_the_metrics_nothing_is_made_up() -> None:
    verdict = judge_metrics(DEMO, metrics(KNOWN.high + 0.1), FACTS)
    assert verdict.line.endswith(". Nothing else in its metrics is unusual.")
    assert verdict.cause is None


@pytest.mark.parametrize(("times", "name"), [(30, "too high"), (1 / 30, "too low")])
def test_another_learning_rate_is_named_beside_that_of_the_recipe(times: float, name: str) -> None:
    rate = 8e-3 * times
    optimizer = replace(DEMO.optimizer, learning_rate=rate, min_learning_rate=rate / 20)
    rows = [row | {"learning_rate": rate} for row in metrics(KNOWN.high + 1)]
    verdict = judge_metrics(replace(DEMO, optimizer=optimizer), rows, FACTS)
    assert f"because of a learning rate that is {name}: its peak, {rate:.2g}, is 30 times" in (
        verdict.line
    )


def test_another_setting_is_named_where_nothing_else_explains_the_loss() -> None:
    config = replace(DEMO, optimizer=replace(DEMO.optimizer, weight_decay=0.0))
    line = judge_metrics(config, metrics(KNOWN.high + 0.1), FACTS).line
    assert line.endswith("because of other settings: optimizer.weight_decay 0.0, not 0.5.")
    line = judge_metrics(config, metrics(NORMAL), FACTS).line
    assert line.startswith("Normal: ")
    assert line.endswith(f"is {KNOWN}, with optimizer.weight_decay 0.0, not 0.5.")


@pytest.mark.parametrize("times", [0.5, 1.5])
def test_another_tokenizer_shows_in_the_bytes_of_a_token(times: float) -> None:
    own = demo_bytes_per_token() * times
    verdict = judge_metrics(DEMO, metrics(NORMAL * times), replace(FACTS, bytes_per_token=own))
    assert f"because of another tokenizer: a token of the held-out text has {own:.2f} bytes" in (
        verdict.line
    )
    assert verdict.line.endswith("do not depend on it, are within their range.")


def test_below_the_band_with_the_same_tokens_the_held_out_text_has_leaked() -> None:
    line = judge_metrics(DEMO, metrics(KNOWN.low - 0.5), FACTS).line
    assert line.startswith("Lower than normal: ")
    assert "because of held-out text that is in the training text, too" in line


def test_the_recipe_on_another_text_has_no_band() -> None:
    verdict = judge_metrics(DEMO, metrics(9.0), replace(FACTS, source="my.txt"))
    assert "Its settings are those of recipe demo, its text is another: my.txt" in verdict.line
    assert verdict.band == ()
    assert all(figure.known is None for figure in verdict.figures)


def test_a_run_of_no_recipe_is_judged_by_its_metrics_alone() -> None:
    config = replace(DEMO, model=replace(DEMO.model, n_layer=2))
    assert judge_metrics(config, metrics(4.0), FACTS).line == (
        "Nothing in its metrics is unusual. No bundled recipe has its settings; of demo, the "
        "nearest, it differs in model.n_layer 2, not 4."
    )
    line = judge_metrics(config, metrics(9.0, train=1.0), FACTS).line
    assert line.startswith("Not normal, most often because of too few training tokens")


def test_the_124m_recipe_is_set_beside_what_is_published() -> None:
    rows = [{"step": 19073, "val_loss": 3.06}]
    evaluations = [{"evaluation": "hellaswag", "step": 19073, "completion_acc_norm": 0.303}]
    verdict = judge_metrics(LARGE, rows, None, evaluations)
    assert verdict.line.startswith("Normal: the held-out loss is 3.060 nats/token at step 19073")
    assert "the range of recipe gpt2-124m-fineweb-edu is" in verdict.line
    assert "; HellaSwag, 0.303, is within its range, 0.295 to 0.311." in verdict.line
    assert {f.name: f.known is not None for f in verdict.figures} == {
        HELD_OUT: True,
        HELLASWAG: True,
    }
    assert "published repeats" in verdict.to_markdown()
    evaluations = [{"evaluation": "hellaswag", "step": 250, "completion_acc_norm": 0.25}]
    assert judge_metrics(LARGE, rows, None, evaluations).figures[-1].known is None
    early = judge_metrics(LARGE, [{"step": 250, "val_loss": 6.0}])
    assert "no range is known at step 250 of 19073" in early.line


def hellaswag_figure(
    config: RunConfig, measured: dict[int, float | None], **evaluation: Any
) -> tuple[float, bool]:
    """Return the accuracy of a verdict, and whether its range is known."""
    rows = [{"step": k, "val_loss": 3.06, "hellaswag_acc_norm": v} for k, v in measured.items()]
    evaluations = [{"evaluation": "hellaswag"} | evaluation] if evaluation else []
    figure = judge_metrics(config, rows, None, evaluations).figures[-1]
    assert figure.name == HELLASWAG
    return figure.value, figure.known is not None


def test_hellaswag_is_that_of_the_newest_step_and_there_that_of_gpt2_eval() -> None:
    assert hellaswag_figure(LARGE, {250: 0.25, 19073: 0.303}) == (0.303, True)
    earlier = {"step": 250, "completion_acc_norm": 0.26}
    assert hellaswag_figure(LARGE, {250: 0.25, 19073: 0.303}, **earlier) == (0.303, True)
    assert hellaswag_figure(LARGE, {250: 0.25, 19073: None}, **earlier) == (0.26, False)
    last = {"step": 19073, "completion_acc_norm": 0.302, "rows": 10042}
    assert hellaswag_figure(LARGE, {19073: 0.303}, **last) == (0.302, True)


def test_the_range_of_hellaswag_is_that_of_all_rows() -> None:
    few = replace(LARGE, evaluation=replace(LARGE.evaluation, hellaswag_rows=100))
    assert hellaswag_figure(few, {19073: 0.35}) == (0.35, False)
    limited = {"step": 19073, "completion_acc_norm": 0.35, "rows": 100}
    assert hellaswag_figure(LARGE, {19073: 0.303}, **limited) == (0.303, True)


def test_a_hellaswag_outside_of_its_range_is_in_the_line() -> None:
    rows = [{"step": 19073, "val_loss": 3.06, "hellaswag_acc_norm": 0.25}]
    line = judge_metrics(LARGE, rows).line
    assert line.startswith("Normal: the held-out loss is 3.060")
    assert line.endswith("; HellaSwag, 0.250, is below its range, 0.295 to 0.311.")


def test_dead_data_of_few_bytes_a_token_is_no_other_tokenizer() -> None:
    dead = replace(FACTS, bytes_per_token=3.0, unigram_nats=0.01)
    line = judge_metrics(DEMO, metrics(0.01), dead).line
    assert line.startswith("Lower than normal: ")
    assert "because of dead data: nearly all tokens are alike" in line


def test_a_setting_that_a_resumed_run_has_changed_is_named() -> None:
    rows = metrics(KNOWN.high + 0.1)
    rows.insert(100, {"step": 100, "changed": {"training.steps": ["100", "900"]}})
    assert judge_metrics(DEMO, rows, FACTS).line.endswith(
        "because of settings that changed when the run was resumed: training.steps after step 100."
    )


@pytest.mark.parametrize(("end", "line"), [(0.01, "as it should"), (3.0, "has not learned")])
def test_one_batch_must_be_learned_by_heart(end: float, line: str) -> None:
    recipe = RunConfig.from_toml(RECIPES / "overfit-one-batch.toml")
    rows = metrics(11.0, step=100, train=end)
    rows = [row | {"loss": row["loss"] + math.log(50257 / 4096)} for row in rows if "loss" in row]
    config = replace(recipe, data=DataConfig(train_tokens=1024))
    for row in rows[-20:]:
        row["loss"] = end
    assert line in judge_metrics(config, rows).line


def test_a_run_without_metrics_has_a_verdict() -> None:
    verdict = judge_metrics(DEMO, [])
    assert "No finite loss has been recorded" in verdict.line
    assert verdict.figures == ()
    assert verdict.to_markdown() == verdict.line  # and no empty table


def test_a_run_directory_is_read_whole(config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(config.to_toml())
    rows = [{"step": 6, "loss": 5.0, "tokens": 384}, {"step": 6, "val_loss": 5.5}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    verdict = judge(tmp_path)
    assert (verdict.step, verdict.steps) == (6, 6)
    assert set(figures(verdict)) == {HELD_OUT, TRAINING, BITS, EPOCHS}


def test_a_directory_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no run: no config.toml there"):
        judge(tmp_path)
