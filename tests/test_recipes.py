"""Every recipe, as it stands, and as a run of two steps of a model that is made small."""

from dataclasses import replace
from pathlib import Path

import pytest

from gpt2.config import RECIPES, DataConfig, GPT2Config, RunConfig
from gpt2.files.pretrained import GPT2
from gpt2.train.metrics import read_metrics
from gpt2.train.run import start
from llm_tokenizer import Tokenizer

PATHS = sorted(RECIPES.glob("*.toml"))
FINEWEB_EDU = [path for path in PATHS if path.stem.endswith("fineweb-edu")]


def test_there_are_recipes_for_all_that_the_readme_says() -> None:
    assert [path.stem for path in PATHS] == [
        "demo",
        "fine-tune",
        "gpt2-124m-fineweb-edu",
        "gpt2-1558m-fineweb-edu",
        "gpt2-355m-fineweb-edu",
        "gpt2-774m-fineweb-edu",
        "overfit-one-batch",
    ]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore::UserWarning")  # torch's own, while it compiles
def test_a_recipe_runs_on_a_small_model(
    path: Path, shards: Path, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = RunConfig.from_toml(path)
    small = replace(config.model, vocab_size=300, n_positions=16, n_embd=12, n_layer=2, n_head=2)
    training = replace(config.training, steps=2, batch_tokens=64, micro_batch=2, compile=False)
    if training.init_from:
        assert training.init_from == "gpt2"
        GPT2(small, tokenizer=tokenizer).save_pretrained(tmp_path / "released")
        training = replace(training, init_from=str(tmp_path / "released"))
    if training.short_context:
        training = replace(training, short_context=8)
    train_tokens = None if config.data.train_tokens is None else 64
    config = replace(
        config,
        model=small,
        data=DataConfig(directory=shards, train_tokens=train_tokens),
        training=training,
        optimizer=replace(config.optimizer, warmup_steps=1),
        evaluation=replace(config.evaluation, val_tokens=64),
    )
    start(config, tmp_path / "run")
    assert [row["step"] for row in read_metrics(tmp_path / "run") if "loss" in row] == [1, 2]


@pytest.mark.parametrize("path", FINEWEB_EDU, ids=lambda path: path.stem)
def test_the_recipes_of_fineweb_edu_have_the_published_settings(path: Path) -> None:
    config = RunConfig.from_toml(path)
    assert (config.training.steps, config.training.batch_tokens) == (19073, 524288)
    assert config.model.n_positions == 1024
    rates = {"124m": 6e-4, "355m": 3e-4, "774m": 2.5e-4, "1558m": 2e-4}
    presets = dict(zip(rates, ("gpt2", "gpt2-medium", "gpt2-large", "gpt2-xl"), strict=True))
    size = path.stem.split("-")[1]
    expected = GPT2Config.preset(presets[size])
    assert (config.model.n_layer, config.model.n_embd) == (expected.n_layer, expected.n_embd)
    optimizer = config.optimizer
    assert optimizer.learning_rate == rates[size]
    assert optimizer.lowest_learning_rate == pytest.approx(rates[size] / 10)
    assert optimizer.warmup_steps == 715
    assert (optimizer.beta1, optimizer.beta2, optimizer.epsilon) == (0.9, 0.95, 1e-8)
    assert (optimizer.weight_decay, optimizer.gradient_clip) == (0.1, 1.0)
    for processes in (1, 2, 4, 8):
        config.check_batch(processes)
