"""Which bundled recipe a run is one of."""

from dataclasses import replace
from pathlib import Path

import pytest

from gpt2.config import (
    RECIPES,
    CheckpointConfig,
    DataConfig,
    EvaluationConfig,
    GPT2Config,
    HistoryConfig,
    RunConfig,
    bundled_recipes,
)
from gpt2.train.normality.nearest_recipe import match_recipe


def recipe(name: str) -> RunConfig:
    return RunConfig.from_toml(RECIPES / f"{name}.toml")


@pytest.mark.parametrize("name", bundled_recipes())
def test_a_run_is_one_of_its_recipe_on_any_machine(name: str) -> None:
    config = recipe(name)
    elsewhere = replace(
        config,
        data=replace(config.data, directory=Path("/elsewhere"), seed=7),
        training=replace(
            config.training, seed=7, dtype="float32", device="cpu", micro_batch=1, compile=False
        ),
        evaluation=EvaluationConfig(every=3),
        checkpoint=CheckpointConfig(every=3),
        history=HistoryConfig(moments=3, text="a"),
    )
    match = match_recipe(RunConfig.from_sections(elsewhere.to_sections(), "config.toml"), None)
    assert (match.recipe, match.differing, match.obstacle) == (name, {}, None)


def test_the_demo_takes_any_number_of_steps_and_other_recipes_their_own() -> None:
    demo, large = recipe("demo"), recipe("gpt2-124m-fineweb-edu")
    assert not match_recipe(
        replace(demo, training=replace(demo.training, steps=440)), None
    ).differing
    match = match_recipe(replace(large, training=replace(large.training, steps=440)), None)
    assert match.differing == {"training.steps": (440, 19073)}
    assert match.obstacle is not None


def test_another_learning_rate_can_be_set_beside_the_recipe() -> None:
    demo = recipe("demo")
    match = match_recipe(
        replace(demo, optimizer=replace(demo.optimizer, learning_rate=1.0)), "stdlib-docs"
    )
    assert match.differing == {"optimizer.learning_rate": (1.0, 8e-3)}
    assert match.obstacle is None
    assert match.learning_rate == 8e-3
    assert match.name_differing() == "optimizer.learning_rate 1.0, not 0.008"


def test_another_optimizer_has_rates_of_another_kind() -> None:
    demo = recipe("demo")
    match = match_recipe(replace(demo, optimizer=replace(demo.optimizer, kind="adamw")), None)
    assert match.obstacle is None
    assert match.learning_rate is None


def test_a_run_of_another_shape_cannot_be_set_beside_the_nearest_recipe() -> None:
    demo = recipe("demo")
    match = match_recipe(replace(demo, model=replace(demo.model, n_layer=2)), None)
    assert match.recipe == "demo"
    assert match.obstacle == (
        "No bundled recipe has its settings; of demo, the nearest, it differs in "
        "model.n_layer 2, not 4."
    )


def test_of_many_settings_that_differ_the_first_are_named() -> None:
    match = match_recipe(RunConfig(model=GPT2Config(n_embd=12, n_layer=1, n_positions=8)), None)
    assert match.obstacle is not None
    assert match.name_differing().endswith(f"and {len(match.differing) - 4} more settings")


def test_the_recipe_on_another_text_is_not_set_beside_it() -> None:
    demo = recipe("demo")
    assert match_recipe(demo, "src/**/*.py").obstacle == (
        "Its settings are those of recipe demo, its text is another: src/**/*.py."
    )
    assert match_recipe(demo, "stdlib-docs").obstacle is None


def test_fine_tuning_has_the_shape_of_its_model() -> None:
    config = recipe("fine-tune")
    other = replace(config, model=replace(config.model, n_layer=24, n_embd=1024, n_head=16))
    assert match_recipe(other, None).differing == {}
    limited = replace(config, data=DataConfig(train_tokens=5000))
    assert match_recipe(limited, None).differing == {"data.train_tokens": (5000, None)}


def test_a_recipe_for_any_text_takes_any_vocabulary() -> None:
    config, demo = recipe("overfit-one-batch"), recipe("demo")
    assert not match_recipe(
        replace(config, model=replace(config.model, vocab_size=300)), None
    ).differing
    assert match_recipe(replace(demo, model=replace(demo.model, vocab_size=300)), None).differing
