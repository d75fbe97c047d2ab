"""The official client of OpenAI's API, over this server: what clients of other servers rely on.

What is asked is what vLLM's tests of its completions (tests/entrypoints/openai) and those of
llama.cpp's server (tools/server/tests) ask.
"""

import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import OpenAI
from openai.types.completion_create_params import CompletionCreateParamsNonStreaming

PROMPT = "Permission is"
IDS = [47, 276, 76, 265]
SHORT: dict[str, Any] = {"model": "tiny", "max_tokens": 5, "temperature": 0.0}


@pytest.fixture(scope="module")
def client(served: Any) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


def test_models_are_listed_and_described(client: OpenAI) -> None:
    [model] = client.models.list().data

    assert (model.id, model.object) == ("tiny", "model")
    assert model.model_extra == {"max_model_len": 24}
    assert 1_700_000_000 < model.created <= time.time()
    assert client.models.retrieve("tiny") == model
    with pytest.raises(openai.NotFoundError, match="other"):
        client.models.retrieve("owner/other")


@pytest.mark.parametrize("prompt", [PROMPT, IDS, [PROMPT], [IDS]])
def test_a_single_completion(client: OpenAI, prompt: Any) -> None:
    before = int(time.time())

    completion = client.completions.create(prompt=prompt, **SHORT)

    assert before <= completion.created <= time.time()
    assert completion.id.startswith("cmpl-")
    [choice] = completion.choices
    assert len(choice.text) >= 5
    assert (choice.index, choice.finish_reason, choice.logprobs) == (0, "length", None)
    read = len(IDS) if isinstance(prompt[0], int | list) else 9
    assert completion.usage is not None
    assert completion.usage.model_dump(exclude_none=True) == {
        "prompt_tokens": read,
        "completion_tokens": 5,
        "total_tokens": read + 5,
    }


def test_greedy_completions_do_not_vary(client: OpenAI) -> None:
    texts = {client.completions.create(prompt=PROMPT, **SHORT).choices[0].text for _ in range(4)}

    assert len(texts) == 1


def test_an_unknown_model_is_not_found(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as raised:
        client.completions.create(prompt=PROMPT, model="other")

    assert raised.value.code == "model_not_found"


@pytest.mark.parametrize("count", [None, 0, 1, 5, 20])
def test_log_probabilities_are_as_many_as_asked_for(client: OpenAI, count: int | None) -> None:
    [choice] = client.completions.create(prompt=IDS, logprobs=count, **SHORT).choices

    if count is None:
        assert choice.logprobs is None
        return
    assert choice.logprobs is not None
    assert choice.logprobs.tokens is not None
    assert choice.logprobs.top_logprobs is not None
    assert len(choice.logprobs.tokens) == len(choice.logprobs.token_logprobs or []) == 5
    # A greedy token is the likeliest, so that it is among those that are listed.
    assert [len(top) for top in choice.logprobs.top_logprobs] == [max(count, 1)] * 5


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fields", [{"logprobs": 21}, {"n": 500}, {"temperature": -1}])
def test_too_much_is_a_bad_request_and_the_server_lives_on(
    client: OpenAI, fields: dict[str, Any], stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        client.completions.create(prompt=PROMPT, stream=stream, **SHORT | fields)

    assert raised.value.param == next(iter(fields))
    assert client.completions.create(prompt=PROMPT, **SHORT).choices[0].text


def test_a_stream_joins_to_the_whole_text(client: OpenAI) -> None:
    whole = client.completions.create(prompt=PROMPT, **SHORT).choices[0]

    chunks = list(client.completions.create(prompt=PROMPT, stream=True, **SHORT))

    reasons = [chunk.choices[0].finish_reason for chunk in chunks]
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.text
    assert reasons == [None] * (len(chunks) - 1) + ["length"]
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_counts_tokens_at_its_end_if_asked_for(client: OpenAI) -> None:
    whole = client.completions.create(prompt=PROMPT, **SHORT)

    *chunks, last = client.completions.create(
        prompt=PROMPT, stream=True, stream_options={"include_usage": True}, **SHORT
    )

    assert last.choices == []
    assert last.usage == whole.usage
    assert all(chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize("stream", [False, None])
@pytest.mark.parametrize("include", [False, True])
def test_options_of_a_stream_need_a_stream(
    client: OpenAI, stream: bool | None, include: bool
) -> None:
    with pytest.raises(openai.BadRequestError):
        client.completions.create(
            prompt=PROMPT, stream=stream, stream_options={"include_usage": include}, **SHORT
        )


def test_several_prompts_stream_beside_each_other(client: OpenAI) -> None:
    prompts, texts = [PROMPT, "The", PROMPT], ["", "", ""]
    whole = client.completions.create(prompt=prompts, **SHORT).choices

    for chunk in client.completions.create(prompt=prompts, stream=True, **SHORT):
        texts[chunk.choices[0].index] += chunk.choices[0].text

    assert texts == [choice.text for choice in whole]
    assert texts[0] == texts[2]


def test_three_samples_of_a_seed_differ(client: OpenAI) -> None:
    fields = SHORT | {"n": 3, "seed": 7, "temperature": 1.0}
    choices = client.completions.create(prompt=PROMPT, **fields).choices
    streamed = ["", "", ""]
    for chunk in client.completions.create(prompt=PROMPT, stream=True, **fields):
        streamed[chunk.choices[0].index] += chunk.choices[0].text

    texts = [choice.text for choice in choices]
    assert [choice.index for choice in choices] == [0, 1, 2]
    assert len(set(texts)) == 3
    assert streamed == texts


@pytest.mark.parametrize("prompt", [PROMPT, IDS])
def test_an_echo_has_the_prompt_and_nothing_before_its_first_token(
    client: OpenAI, prompt: Any
) -> None:
    [choice] = client.completions.create(prompt=prompt, echo=True, logprobs=1, **SHORT).choices
    [plain] = client.completions.create(prompt=prompt, **SHORT).choices

    assert choice.text.endswith(plain.text)
    assert choice.text.startswith("Permis")
    assert choice.logprobs is not None
    lists = choice.logprobs.model_dump()
    assert lists["token_logprobs"][0] is None
    assert lists["top_logprobs"][0] is None
    assert all(value <= 0 for value in lists["token_logprobs"][1:])
    assert lists["text_offset"][0] == 0
    assert lists["text_offset"] == sorted(lists["text_offset"])
    read = 9 if prompt == PROMPT else len(IDS)
    assert {len(each) for each in lists.values()} == {read + 5}


def test_a_stop_string_is_left_out(client: OpenAI) -> None:
    [whole] = client.completions.create(prompt="The", **SHORT).choices
    stop = whole.text[2:4]

    [choice] = client.completions.create(prompt="The", stop=[stop], **SHORT).choices

    assert choice.finish_reason == "stop"
    assert choice.text == whole.text[: whole.text.index(stop)]


def test_a_bias_forces_or_forbids_tokens(client: OpenAI) -> None:
    fields = SHORT | {"extra_body": {"return_token_ids": True}}

    def ids(bias: dict[str, int]) -> list[int]:
        completion = client.completions.create(prompt="The", logit_bias=bias, **fields)
        return (completion.choices[0].model_extra or {})["token_ids"]

    plain = ids({})
    assert ids({"65": 100}) == [65] * 5
    assert plain[0] not in ids({str(plain[0]): -100})


def test_what_other_servers_take_comes_in_the_extra_body(client: OpenAI) -> None:
    extra = {"top_k": 1, "min_p": 0.1, "repetition_penalty": 1.0, "ignore_eos": True}
    greedy = client.completions.create(prompt=PROMPT, **SHORT).choices[0].text

    completion = client.completions.create(
        prompt=PROMPT, extra_body=extra, **SHORT | {"temperature": 1.5}
    )

    assert completion.choices[0].text == greedy


def test_every_field_of_openai_may_be_null(client: OpenAI) -> None:
    nulls: dict[str, Any] = dict.fromkeys(CompletionCreateParamsNonStreaming.__annotations__)
    assert "suffix" in nulls

    completion = client.completions.create(**nulls | {"model": "tiny", "prompt": IDS})

    assert completion.choices[0].text


def test_a_stream_without_padding_may_be_asked_for(client: OpenAI) -> None:
    options: Any = {"include_obfuscation": False, "include_usage": True}

    *_, last = client.completions.create(
        prompt=PROMPT, stream=True, stream_options=options, **SHORT
    )

    assert last.usage is not None


def test_chats_are_refused_with_the_reason(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="use /v1/completions"):
        client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "Hi"}])


def test_an_interrupted_stream_leaves_the_server_as_it_was(client: OpenAI) -> None:
    for _ in range(5):
        with client.completions.create(prompt=PROMPT, stream=True, **SHORT) as stream:
            next(iter(stream))

    assert client.completions.create(prompt=PROMPT, **SHORT).choices[0].text
