import pytest

from gpt2.config import GPT2Config, OptimizerConfig, RunConfig, TrainingConfig
from gpt2.errors import ConfigError
from gpt2.train.schedule import context_length, learning_rate

CONFIG = OptimizerConfig(learning_rate=1.0, min_learning_rate=0.1, warmup_steps=4)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 0.25),  # the first step already learns
        (1, 0.5),
        (3, 1.0),  # the end of the warm-up
        (4, 1.0),
        (8, 0.1 + 0.9 * 0.75),  # a third of the half cosine: cos(60 degrees) = 1/2
        (10, 0.55),  # half way
        (15, 0.1 + 0.9 * (1 - 0.9659258262890683) / 2),  # cos(165 degrees)
        (16, 0.1),  # the end, and after it
        (99, 0.1),
    ],
)
def test_the_rate_rises_linearly_and_falls_by_half_a_cosine(step: int, expected: float) -> None:
    assert learning_rate(step, 16, CONFIG) == pytest.approx(expected, abs=1e-3)


def test_without_warm_up_the_first_step_has_the_peak() -> None:
    config = OptimizerConfig(learning_rate=1.0, min_learning_rate=0.0, warmup_steps=0)
    assert learning_rate(0, 10, config) == 1.0


def test_a_run_shorter_than_its_warm_up_still_rises() -> None:
    assert learning_rate(1, 2, CONFIG) == 0.5


def short_first(**settings: int | float) -> RunConfig:
    training = TrainingConfig(steps=10, batch_tokens=64, micro_batch=2, **settings)  # type: ignore[arg-type]
    return RunConfig(model=GPT2Config(n_positions=32), training=training)


def test_contexts_are_short_for_their_share_of_the_steps_and_whole_afterwards() -> None:
    config = short_first(short_context=8, short_context_share=0.3)
    assert [context_length(step, config) for step in range(5)] == [8, 8, 8, 32, 32]
    assert context_length(0, short_first()) == 32
    assert context_length(0, short_first(short_context=8, short_context_share=0.0)) == 32


def test_a_short_context_must_divide_the_whole_one() -> None:
    with pytest.raises(ConfigError, match="short_context must divide n_positions, 32, got 5"):
        short_first(short_context=5)
    with pytest.raises(ConfigError, match="short_context must be at least 1, got 0"):
        short_first(short_context=0)
    with pytest.raises(ConfigError, match=r"short_context_share must be 0 to 1, got 1.5"):
        short_first(short_context=8, short_context_share=1.5)
