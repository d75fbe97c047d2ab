from dataclasses import replace

from gpt2.config import RunConfig
from gpt2.train.pace import Pace, measure_pace


def test_a_pace_is_measured_without_leaving_anything(config: RunConfig) -> None:
    training = replace(config.training, short_context=4, short_context_share=1.0)
    pace = measure_pace(replace(config, training=training))
    assert 0 < pace.step < 60
    assert 0 < pace.evaluation < 60
    assert not (config.data.directory / "config.toml").exists()


def test_evaluations_count_and_a_step_is_always_taken(config: RunConfig) -> None:
    pace = Pace(step=2.0, evaluation=2.0)  # evaluated every second step: 3 s a step
    assert pace.steps_within(9.5, config) == 3
    assert pace.steps_within(1.0, config) == 1
