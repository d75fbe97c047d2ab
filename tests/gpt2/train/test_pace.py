import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gpt2.config import RunConfig
from gpt2.train.distributed import Parallel
from gpt2.train.pace import Pace, measure_pace


def test_a_pace_is_measured_with_whole_contexts_and_leaves_no_file(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: set[tuple[int, ...]] = set()
    loss = Parallel.loss

    def recorded(parallel: Parallel, rows: torch.Tensor) -> torch.Tensor:
        shapes.add(tuple(rows.shape))
        return loss(parallel, rows)

    monkeypatch.setattr(Parallel, "loss", recorded)
    monkeypatch.chdir(tmp_path)
    before = sorted(config.data.directory.rglob("*"))
    training = replace(config.training, short_context=4, short_context_share=1.0)
    pace = measure_pace(replace(config, training=training))
    assert shapes == {(2, 17)}
    assert pace.step > 0
    assert pace.evaluation > 0
    assert sorted(config.data.directory.rglob("*")) == before
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("evaluation", [0.0, 0.25, 2.0, 9.0])
@pytest.mark.parametrize("seconds", [0.5, 6.0, 9.5, 10.0, 11.0, 99.0, 100.0])
def test_as_many_steps_are_planned_as_fit_with_their_evaluations(
    config: RunConfig, seconds: float, evaluation: float
) -> None:
    pace = Pace(step=2.0, evaluation=evaluation)

    def taken(steps: int) -> float:  # evaluated every second step, and after the last
        return steps * pace.step + math.ceil(steps / 2) * pace.evaluation

    steps = pace.steps_within(seconds, config)
    assert steps == 1 or taken(steps) <= seconds
    assert taken(steps + 1) > seconds
