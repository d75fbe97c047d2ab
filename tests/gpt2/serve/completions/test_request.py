"""The fields of a request for completions: what they become, and what is refused in which words."""

import json
import re
from typing import Any

import pytest
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from gpt2.config import GenerationConfig
from gpt2.serve.completions.request import CompletionRequest
from gpt2.serve.errors import ApiError, as_api_error


def asked(**fields: Any) -> CompletionRequest:
    """Return a request, read from JSON."""
    return CompletionRequest.model_validate(json.loads(json.dumps({"prompt": "a"} | fields)))


def refused(body: Any) -> ApiError:
    """Return the answer to a body that is refused."""
    try:
        CompletionRequest.model_validate(body)
    except ApiError as error:
        return error
    except ValidationError as error:
        errors = [each | {"loc": ("body", *each["loc"])} for each in error.errors()]
        return as_api_error(RequestValidationError(errors).errors())
    raise AssertionError("it was not refused")


def test_a_request_without_settings_has_those_of_openai() -> None:
    request = asked()

    assert request.generation_config() == GenerationConfig(max_new_tokens=16, temperature=1.0)
    assert (request.samples, request.stream, request.logprobs, request.echo) == (
        1,
        None,
        None,
        None,
    )


def test_null_is_as_good_as_a_field_that_is_not_there() -> None:
    fields = dict.fromkeys(set(CompletionRequest.model_fields) - {"prompt"})

    assert asked(**fields).generation_config() == asked().generation_config()


def test_every_setting_of_the_texts_arrives() -> None:
    request = asked(
        max_tokens=3,
        temperature=0,
        top_p=0.0,
        top_k=4,
        min_p=0.25,
        stop=["x", "yz"],
        stop_token_ids=[7, 8],
        ignore_eos=True,
        seed=5,
        logprobs=2,
        presence_penalty=-2,
        frequency_penalty=1.5,
        repetition_penalty=1.25,
        logit_bias={"12": -100, "13": 0.5},
    )

    assert request.generation_config() == GenerationConfig(
        max_new_tokens=3,
        temperature=0.0,
        top_p=0.0,
        top_k=4,
        min_p=0.25,
        stop=("x", "yz"),
        stop_ids=(7, 8),
        ignore_end=True,
        seed=5,
        top_log_probabilities=2,
        presence_penalty=-2.0,
        frequency_penalty=1.5,
        repetition_penalty=1.25,
        logit_bias={12: -100.0, 13: 0.5},
    )


@pytest.mark.parametrize("off", [-1, 0, None])
def test_top_k_is_off_as_vllm_writes_it(off: int | None) -> None:
    assert asked(top_k=off).generation_config().top_k is None


def test_a_stop_string_may_be_given_without_a_list() -> None:
    assert asked(stop="the end").generation_config().stop == ("the end",)


@pytest.mark.parametrize(("seed", "ours"), [(0, 0), (-1, 2**63 - 1), (-(2**63), 0), (7, 7)])
def test_each_seed_of_64_bits_has_one_of_ours(seed: int, ours: int) -> None:
    assert asked(seed=seed).generation_config().seed == ours


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("", [""]),
        ("a b", ["a b"]),
        ([5, 6], [[5, 6]]),
        (["a", ""], ["a", ""]),
        ([[5], []], [[5], []]),
    ],
)
def test_prompts_are_texts_or_token_ids_one_or_several(prompt: Any, prompts: Any) -> None:
    assert asked(prompt=prompt).prompt == prompts


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": []}, "prompt: it must have at least one prompt, got []"),
        (
            {"prompt": 5},
            "prompt: it must be a text, a list of token ids, or a list of either, got 5",
        ),
        ({"prompt": ["a", [1]]}, "prompt: it must be a text, a list of token ids, or a list .*"),
        ({"prompt": [True]}, "prompt: it must be a text, a list of token ids, or a list of .*"),
        ({"prompt": [1, 1.5]}, "prompt: token ids must be whole numbers of at least 0, got .*"),
        ({"prompt": [1, True]}, "prompt: token ids must be whole numbers of at least 0, got .*"),
        ({"prompt": [[1], [-1]]}, "prompt: token ids must be whole numbers of at least 0, got .*"),
        ({"prompt": "a\ud800"}, r"prompt: a text must not have half of a surrogate pair, got .*"),
        ({"max_tokens": -1}, "max_tokens: it should be greater than or equal to 0, got -1"),
        ({"max_tokens": 1.5}, "max_tokens: it should be a valid integer, got 1.5"),
        ({"max_tokens": "5"}, "max_tokens: it should be a valid integer, got '5'"),
        ({"max_tokens": True}, "max_tokens: it should be a valid integer, got True"),
        ({"max_tokens": 10**40 + 0.5}, "max_tokens: .*"),
        ({"temperature": float("nan")}, "temperature: it should be .*, got nan"),
        ({"temperature": float("inf")}, "temperature: it should be a finite number, got inf"),
        ({"temperature": -0.1}, "temperature: it should be greater than or equal to 0, got -0.1"),
        ({"temperature": 10**400}, "temperature: .*, got a number of more than 30 digits"),
        ({"top_p": 1.01}, "top_p: it should be less than or equal to 1, got 1.01"),
        ({"top_p": -0.01}, "top_p: it should be greater than or equal to 0, got -0.01"),
        ({"min_p": -0.01}, "min_p: it should be greater than or equal to 0, got -0.01"),
        ({"min_p": 1.01}, "min_p: it should be less than or equal to 1, got 1.01"),
        ({"top_k": -2}, "top_k: it should be greater than or equal to -1, got -2"),
        ({"min_p": [0.1]}, "min_p: it should be a valid number, got [0.1]"),
        ({"n": 0}, "n: it should be greater than or equal to 1, got 0"),
        ({"n": 129}, "n: it should be less than or equal to 128, got 129"),
        ({"best_of": 2}, "best_of must be n, 1, got 2"),
        ({"stop": ""}, "stop[0]: .* at least 1 character, got ''"),
        ({"stop": ["a", ""]}, "stop[1]: .* at least 1 character, got ''"),
        ({"stop": ["a"] * 17}, "stop: .* at most 16 items .*"),
        ({"stop": "a" * 257}, "stop[0]: .* at most 256 characters, got .*"),
        ({"stop": ["\udfff"]}, "stop[0]: .*"),
        ({"logprobs": 21}, "logprobs: it should be less than or equal to 20, got 21"),
        ({"logprobs": True}, "logprobs: it should be a valid integer, got True"),
        ({"presence_penalty": 2.5}, "presence_penalty: it should be less than .* 2, got 2.5"),
        ({"presence_penalty": -2.5}, "presence_penalty: it should be .* -2, got -2.5"),
        ({"frequency_penalty": 2.5}, "frequency_penalty: it should be less than .* 2, got 2.5"),
        ({"frequency_penalty": -2.5}, "frequency_penalty: it should be .* -2, got -2.5"),
        ({"repetition_penalty": 101}, "repetition_penalty: it should be less .* 100, got 101"),
        ({"repetition_penalty": 0}, "repetition_penalty: it should be greater .* 0.01, got 0"),
        ({"logit_bias": {"a": 1}}, "logit_bias.a.*: .*, got 'a'"),
        ({"logit_bias": {"-1": 1}}, "logit_bias.-1.*: .*, got '-1'"),
        ({"logit_bias": {"1" * 10: 1}}, "logit_bias.1*.*: .*, got '1*'"),
        ({"logit_bias": {"1": -101}}, "logit_bias.1: it should be .* equal to -100, got -101"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1: it should be less than .* 100, got 101"),
        (
            {"logit_bias": {str(i): 1 for i in range(1025)}},
            "logit_bias: it must have up to 1024 entries, got .*",
        ),
        ({"logit_bias": [1]}, "logit_bias: it should be a valid dictionary, got [1]"),
        ({"seed": -(2**63) - 1}, "seed: it should be greater .*, got -9223372036854775809"),
        ({"seed": 2**63}, "seed: it should be less than .*, got 9223372036854775808"),
        ({"stream": "yes"}, "stream: it should be a valid boolean, got 'yes'"),
        ({"stream_options": {"include_usage": True}}, 'stream_options needs "stream": true; .*'),
        ({"temperatur": 1}, "there is no field 'temperatur'; near it: temperature"),
        ({"suffix": "z"}, "suffix: it should be '', got 'z'"),
        ({"model": 5}, "model: it should be a valid string, got 5"),
        ({"user": {}}, "user: it should be a valid string, got {}"),
    ],
    ids=lambda each: each if isinstance(each, str) else None,
)
def test_a_wrong_field_is_refused_in_one_line_that_names_it(
    fields: dict[str, Any], message: str
) -> None:
    error = refused({"prompt": "a"} | fields)

    pattern = re.sub(r"([\[\]{}()])", r"\\\1", message)
    assert re.fullmatch(pattern, error.message), error.message
    assert (error.status, error.param) == (400, list(fields)[-1])


def test_a_wrong_option_of_a_stream_is_refused() -> None:
    error = refused({"prompt": "a", "stream": True, "stream_options": {"usage": True}})

    assert error.message == "there is no field 'usage'; leave it out"


def test_many_wrong_fields_are_one_error() -> None:
    assert refused({"prompt": "a"} | {f"x{i}": 1 for i in range(10**4)}).param == "x0"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "prompt is missing"),
        ([], "the body must be a JSON object with the fields of the request"),
        ("prompt", "the body must be a JSON object with the fields of the request"),
        (None, "the body must be a JSON object with the fields of the request"),
    ],
)
def test_a_body_that_is_no_request_is_refused(body: Any, message: str) -> None:
    assert refused(body).message == message


def test_a_long_or_deep_value_is_not_repeated_whole() -> None:
    deep: list[Any] = []
    for _ in range(500):
        deep = [deep]
    values: list[Any] = ["x" * 10**6, deep, {"a" * 1000: 1}, [1.5] * 10**5]

    assert all(len(refused({"prompt": "a", "seed": value}).message) < 160 for value in values)
    assert len(refused({"prompt": "a", "x" * 10**6: 1}).body()["error"]["param"]) <= 60
