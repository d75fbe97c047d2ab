import pytest

from gpt2.config import GPT2Config
from gpt2.errors import ConfigError
from gpt2.files.hugging_face import config_from_entries, config_to_entries


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model_type", "bert"),
        ("activation_function", "gelu_10"),
        ("add_cross_attention", True),
        ("quantization_config", {"bits": 4}),
        ("pruned_heads", {"0": [1]}),
        ("auto_map", {"AutoModel": "x.Y"}),
    ],
)
def test_mathematics_that_is_not_implemented_is_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"config.json: {key} (must be|changes the model)"):
        config_from_entries({key: value})


def test_names_that_transformers_takes_for_those_of_gpt2_are_read() -> None:
    entries = {"hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4}
    config = config_from_entries(entries | {"max_position_embeddings": 50})
    assert (config.n_embd, config.n_layer, config.n_head, config.n_positions) == (96, 3, 4, 50)
    with pytest.raises(ConfigError, match="hidden_size must be n_embd, 48, got 96"):
        config_from_entries({"n_embd": 48, "n_head": 4, "hidden_size": 96})


def test_entries_that_change_nothing_are_passed_over() -> None:
    entries = {"pruned_heads": {}, "task_specific_params": {"x": 1}, "n_ctx": 1024, "n_inner": None}
    assert config_from_entries(entries) == GPT2Config()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("layer_norm_epsilon", float("nan")),
        ("layer_norm_epsilon", float("inf")),
        ("layer_norm_epsilon", 10**400),
        ("n_embd", 10**9),
        ("vocab_size", 10**30),
        ("n_layer", 0),
    ],
)
def test_a_size_or_rate_beyond_reason_is_told(key: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"config.json: {key} must be"):
        config_from_entries({key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [("n_head", "12"), ("n_head", None), ("n_layer", True), ("n_embd", 48.0), ("attn_pdrop", "x")],
)
def test_a_value_of_the_wrong_type_is_told(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"config.json: {key} must be"):
        config_from_entries({key: value})


def test_config_json_and_back_is_the_same(unusual_config: GPT2Config) -> None:
    assert config_from_entries(config_to_entries(unusual_config)) == unusual_config
