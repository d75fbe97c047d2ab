from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from gpt2.config import (
    RECIPES,
    CheckpointConfig,
    DataConfig,
    EvaluationConfig,
    GenerationConfig,
    GPT2Config,
    HistoryConfig,
    OptimizerConfig,
    RunConfig,
    TrainingConfig,
    bundled_recipes,
    recipe_path,
)
from gpt2.errors import ConfigError

# No setting has its default.
UNUSUAL = RunConfig(
    model=GPT2Config(
        vocab_size=500,
        n_positions=32,
        n_embd=12,
        n_layer=2,
        n_head=3,
        n_inner=20,
        activation_function="relu",
        layer_norm_epsilon=1e-6,
        scale_attn_weights=False,
        scale_attn_by_inverse_layer_idx=True,
        reorder_and_upcast_attn=True,
        tie_word_embeddings=False,
        embd_pdrop=0.2,
        attn_pdrop=0.3,
        resid_pdrop=0.4,
        initializer_range=0.03,
    ),
    data=DataConfig(directory=Path('some where/ä😀\\"'), seed=1, train_tokens=64),
    training=TrainingConfig(
        steps=7,
        batch_tokens=128,
        micro_batch=2,
        short_context=8,
        short_context_share=0.25,
        seed=5,
        dtype="float32",
        device="cpu",
        compile=True,
        attention="manual",
        attention_blocks=(1, 0),
        gradient_checkpointing=True,
        init_from="gpt2",
        max_hours=2.5,
        timeout_seconds=9.0,
        parallel="fsdp",
        track="wandb",
    ),
    optimizer=OptimizerConfig(
        kind="muon",
        learning_rate=1e-2,
        embedding_learning_rate=2e-2,
        min_learning_rate=1e-3,
        warmup_steps=3,
        weight_decay=0.2,
        beta1=0.8,
        beta2=0.9,
        epsilon=1e-7,
        gradient_clip=float("inf"),
    ),
    evaluation=EvaluationConfig(
        every=9,
        val_tokens=64,
        sample_prompts=("a", '"\x7f\n'),
        sample_tokens=5,
        reference="gpt2",
        hellaswag="hub",
        hellaswag_rows=7,
    ),
    checkpoint=CheckpointConfig(every=11, keep_last=3, keep_best=False),
    history=HistoryConfig(moments=5, text="a text"),
)


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_setting_survives_its_toml(tmp_path: Path) -> None:
    default = asdict(RunConfig())
    for section, values in asdict(UNUSUAL).items():
        assert not values.items() & default[section].items(), "a setting has its default"
    assert RunConfig.from_toml(write(tmp_path, UNUSUAL.to_toml())) == UNUSUAL


def test_differences_name_each_setting_that_differs() -> None:
    other = replace(UNUSUAL, optimizer=replace(UNUSUAL.optimizer, beta1=0.7, epsilon=1e-3))
    assert UNUSUAL.differences(UNUSUAL) == {}
    assert UNUSUAL.differences(other) == {
        "optimizer.beta1": (0.8, 0.7),
        "optimizer.epsilon": (1e-7, 1e-3),
    }


def test_a_step_divides_into_micro_batches_of_all_processes() -> None:
    config = RunConfig(training=TrainingConfig(batch_tokens=32768, micro_batch=8))
    config.check_batch(2)
    told = r"micro_batch \* n_positions \* 3 processes = 24576, got 32768; .* 24576 or 49152"
    with pytest.raises(ConfigError, match=told):
        config.check_batch(3)


@pytest.mark.parametrize(
    ("tokens", "processes", "smaller"),
    # 24, 32, 24, 24.02 and 9 rows
    [(24576, 2, "6"), (32768, 32, "1"), (24576, 5, None), (24600, 1, None), (9216, 3, "3")],
)
def test_a_step_that_does_not_divide_can_stay_with_a_smaller_micro_batch(
    tokens: int, processes: int, smaller: str | None
) -> None:
    config = RunConfig(training=TrainingConfig(batch_tokens=8 * 1024, micro_batch=8))
    training = replace(config.training, batch_tokens=tokens)
    object.__setattr__(config, "training", training)  # past the check for one process
    with pytest.raises(ConfigError, match="training.batch_tokens must be a multiple") as raised:
        config.check_batch(processes)
    hint = f"Or leave it, with training.micro_batch {smaller}"
    assert str(raised.value).endswith(hint) == (smaller is not None)


def test_a_recipe_sets_what_it_names_and_leaves_the_rest(tmp_path: Path) -> None:
    recipe = write(tmp_path, '[model]\npreset = "gpt2-medium"\nvocab_size = 50304\n')
    config = RunConfig.from_toml(recipe)
    assert config.model == GPT2Config(n_layer=24, n_head=16, n_embd=1024, vocab_size=50304)
    assert config.training == TrainingConfig()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[optimiser]", "unknown section 'optimiser'; known: model, data, training, optimizer"),
        ("[model]\nn_heads = 2", r"unknown key in \[model\] 'n_heads'; known: vocab_size"),
        ('[model]\npreset = "gpt3"', "unknown preset 'gpt3'; known: gpt2, gpt2-medium"),
        (
            "[model]\nn_embd = 10\nn_head = 4",
            "got n_embd=10 and n_head=4; the next that fits is 12",
        ),
        ("[training]\nsteps = 1.5", "training.steps must be int, got 1.5"),
        ("[training]\nsteps = true", "training.steps must be int, got True"),
        ("[training]\nmax_hours = 0", "training.max_hours must be above 0, got 0.0"),
        ("[training]\nmax_hours = true", "training.max_hours must be float or NoneType, got True"),
        ("[data]\ntrain_tokens = 9", "data.train_tokens must be at least n_positions, 1024, got 9"),
        ("[evaluation]\nsample_prompts = [1]", r"sample_prompts must be a list of str, got \[1\]"),
        ('[evaluation]\nsample_prompts = ["a", ""]', "sample_prompts must not be empty"),
        ('[evaluation]\nreference = ""', "evaluation.reference must name a model"),
        ('[training]\ninit_from = ""', "training.init_from must name a model"),
        ("[training]\nsteps = 100_000_000", "training.steps must be at most 99999999"),
        ('[training]\ntrack = "paper"', "training.track must be tensorboard or wandb or NoneType"),
        ('[training]\ndtype = "half"', "training.dtype must be auto or float32 or bfloat16"),
        ("[training]\nbatch_tokens = 9000", "multiple of .* 8192, got 9000; .* 8192 or 16384"),
        ("[optimizer]\nbeta1 = 1.0", "optimizer.beta1 must be at least 0 and below 1, got 1.0"),
        (
            "[optimizer]\nlearning_rate = 1e-5\nmin_learning_rate = 6e-5",
            "min_learning_rate must be at most learning_rate",
        ),
        ("[data]\nseed = -1", "data.seed must be at least 0 and below .*, got -1"),
        ('[model]\npreset = ["gpt2"]', r"unknown preset \['gpt2'\]"),
        ("[model]\nlayer_norm_epsilon = -1.0", "layer_norm_epsilon must be above 0, got -1.0"),
        ("[model]\nn_inner = 0", "n_inner must be 1 to 16777216, got 0"),
        ("[history]\nmoments = 1", "history.moments must be 0, or 2 to 1000, got 1"),
        ('[history]\ntext = ""', "history.text must have a token, got ''"),
        ("training = 3", r"training must be a section, \[training\], got 3"),
        ("[model", "is not valid TOML"),
    ],
)
def test_a_wrong_recipe_is_told_with_file_and_key(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as raised:
        RunConfig.from_toml(write(tmp_path, text))
    assert "recipe.toml" in str(raised.value)


def test_a_choice_is_checked_wherever_it_comes_from() -> None:
    with pytest.raises(
        ConfigError, match="optimizer.kind must be one of adamw, muon, normuon, got 'sgd'"
    ):
        OptimizerConfig(kind="sgd")
    with pytest.raises(ConfigError, match="training.dtype must be one of auto, float32, bfloat16"):
        TrainingConfig(dtype="half")


def test_a_missing_recipe_is_told() -> None:
    with pytest.raises(ConfigError, match="there is no recipe missing.toml"):
        RunConfig.from_toml(Path("missing.toml"))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"max_new_tokens": -1}, "max_new_tokens must be at least 0, got -1"),
        ({"temperature": -0.1}, "temperature must be at least 0, got -0.1"),
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"seed": 2**63}, r"seed must be at least 0 and below 2\*\*63"),
        ({"num_samples": 0}, "num_samples must be at least 1, got 0"),
        ({"top_p": 1.1}, "top_p must be 0 to 1, got 1.1"),
        ({"top_p": -0.1}, "top_p must be 0 to 1, got -0.1"),
        ({"min_p": 2.0}, "min_p must be 0 to 1, got 2.0"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be 0.01 to 100, got 0.0"),
        ({"presence_penalty": 2.1}, "presence_penalty must be -2 to 2, got 2.1"),
        ({"frequency_penalty": -3}, "frequency_penalty must be -2 to 2, got -3"),
        ({"logit_bias": {-1: 2.0}}, "logit_bias must name token ids, .* at least 0, got -1"),
        ({"logit_bias": {7: 101.0}}, r"logit_bias\[7\] must be -100 to 100, got 101.0"),
        ({"logit_bias": {7: float("nan")}}, r"logit_bias\[7\] must be -100 to 100, got nan"),
        ({"stop": ("a", "")}, r"stop must not hold an empty string, got \('a', ''\)"),
        ({"stop_ids": (3, -1)}, r"stop_ids must be at least 0, got \(3, -1\)"),
        ({"top_log_probabilities": -1}, "top_log_probabilities must be at least 0, got -1"),
    ],
)
def test_a_setting_out_of_range_is_told(settings: dict[str, float], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        GenerationConfig(**settings)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize(
    ("section", "name"),
    [
        (OptimizerConfig, "learning_rate"),
        (OptimizerConfig, "embedding_learning_rate"),
        (OptimizerConfig, "min_learning_rate"),
        (OptimizerConfig, "weight_decay"),
        (OptimizerConfig, "epsilon"),
        (OptimizerConfig, "beta1"),
        (TrainingConfig, "max_hours"),
        (TrainingConfig, "short_context_share"),
        (GPT2Config, "initializer_range"),
        (GPT2Config, "layer_norm_epsilon"),
        (GPT2Config, "attn_pdrop"),
        (GenerationConfig, "temperature"),
        (GenerationConfig, "top_p"),
        (GenerationConfig, "min_p"),
        (GenerationConfig, "repetition_penalty"),
        (GenerationConfig, "presence_penalty"),
        (GenerationConfig, "frequency_penalty"),
    ],
)
def test_a_number_that_is_not_finite_is_refused(section: type, name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be"):
        section(**{name: value})


def test_only_a_clip_of_the_gradients_may_be_infinite() -> None:
    assert OptimizerConfig(gradient_clip=float("inf")).gradient_clip == float("inf")
    for clip in (float("nan"), float("-inf"), 0.0):
        with pytest.raises(ConfigError, match="gradient_clip must be above 0"):
            OptimizerConfig(gradient_clip=clip)


def test_a_path_may_be_given_as_a_string() -> None:
    assert DataConfig(directory="data/x") == DataConfig(directory=Path("data/x"))  # type: ignore[arg-type]


def test_the_lowest_learning_rate_is_a_tenth_of_the_highest_unless_it_is_set() -> None:
    assert OptimizerConfig(learning_rate=5e-5).lowest_learning_rate == pytest.approx(5e-6)
    set_to_zero = OptimizerConfig(learning_rate=5e-5, min_learning_rate=0.0)
    assert set_to_zero.lowest_learning_rate == 0


def test_every_recipe_of_the_repository_is_valid() -> None:
    assert bundled_recipes()
    for recipe in bundled_recipes():
        RunConfig.from_toml(recipe_path(recipe))


def test_a_recipe_is_a_file_or_else_a_bundled_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()  # a folder is no recipe
    assert recipe_path("demo") == RECIPES / "demo.toml"
    (tmp_path / "fine-tune").write_text("", encoding="utf-8")
    assert recipe_path("fine-tune") == Path("fine-tune")


@pytest.mark.parametrize("name", ["", "dem", "demo.toml", "../recipes/demo"])
def test_an_unknown_recipe_is_told_with_those_that_there_are(name: str) -> None:
    with pytest.raises(ConfigError, match=f"no recipe '{name}'; give .* bundled recipe: demo, fin"):
        recipe_path(name)


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        (GPT2Config, {"n_layer": "1"}, "n_layer must be int, got '1'"),
        (GPT2Config, {"n_layer": 1.5}, "n_layer must be int, got 1.5"),
        (GPT2Config, {"n_layer": True}, "n_layer must be int, got True"),
        (GPT2Config, {"vocab_size": None}, "vocab_size must be int, got None"),
        (GPT2Config, {"embd_pdrop": "x"}, "embd_pdrop must be float, got 'x'"),
        (TrainingConfig, {"steps": "5"}, "training.steps must be int, got '5'"),
        (TrainingConfig, {"attention_blocks": (0, "1")}, "training.attention_blocks must be"),
        (OptimizerConfig, {"learning_rate": "1"}, "optimizer.learning_rate must be float"),
        (GenerationConfig, {"max_new_tokens": "5"}, "max_new_tokens must be int, got '5'"),
        (GenerationConfig, {"temperature": "1"}, "temperature must be float, got '1'"),
        (GenerationConfig, {"seed": 1.5}, "seed must be int or NoneType, got 1.5"),
        (GenerationConfig, {"stop": "a"}, "stop must be a list of str, got 'a'"),
        (GenerationConfig, {"stop_ids": (1, "a")}, "stop_ids must be a list of int, got"),
        (GenerationConfig, {"logit_bias": [1]}, "logit_bias must be a table of int to float, got"),
        (GenerationConfig, {"logit_bias": {"1": 1.0}}, "each key of logit_bias must be int, got"),
        (GenerationConfig, {"logit_bias": {1: "2"}}, r"logit_bias\[1\] must be float, got '2'"),
    ],
    ids=str,
)
def test_a_value_of_the_wrong_type_is_refused_from_python_too(
    kind: Callable[..., object], settings: dict[str, object], expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected):
        kind(**settings)


def test_a_bias_is_a_whole_number_or_not_and_configs_of_generation_are_hashable() -> None:
    config = GenerationConfig(logit_bias={5: 1, 6: -2.5}, stop=("a",), top_p=1)
    assert config == GenerationConfig(logit_bias={5: 1.0, 6: -2.5}, stop=("a",), top_p=1.0)
    assert config != GenerationConfig(logit_bias={5: 1.0}, stop=("a",), top_p=1.0)
    assert hash(config) == hash(replace(config))


def test_whole_numbers_are_rates_and_texts_are_paths() -> None:
    assert GPT2Config(embd_pdrop=0).embd_pdrop == 0
    assert DataConfig(directory="x").directory == Path("x")
    assert TrainingConfig(attention_blocks=(0, 1)).attention_blocks == (0, 1)


def test_a_text_that_is_no_unicode_is_named() -> None:
    with pytest.raises(ConfigError) as raised:
        RunConfig(history=HistoryConfig(text="a\udcff"))
    wanted = "a setting must be text in Unicode, got 'text = \"a\\udcff\"'"
    assert str(raised.value) == wanted
