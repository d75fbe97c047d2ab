"""Whole answers of POST /v1/completions, beside what the engine and the network give directly."""

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import torch

from gpt2.config import GenerationConfig
from gpt2.files.pretrained import GPT2
from gpt2.generation.generate import Sample, generate

Ask = Callable[..., Any]

GREEDY = {"temperature": 0, "max_tokens": 6}
PROMPT = "Permission is"
IDS = [47, 276, 76]
END = "299"  # the id of <|endoftext|>


def direct(model: GPT2, prompt: str | list[int], **settings: Any) -> list[Sample]:
    """Return the samples of one prompt, without a server."""
    config = GenerationConfig(**{"max_new_tokens": 6, "temperature": 0.0} | settings)
    return generate(model, [prompt], config)


def texts(answer: dict[str, Any]) -> list[str]:
    return [choice["text"] for choice in answer["choices"]]


def test_a_prompt_is_continued_as_the_engine_continues_it(ask: Ask, served_model: GPT2) -> None:
    answer = ask(prompt=PROMPT, **GREEDY)

    [sample] = direct(served_model, PROMPT)
    assert answer["choices"] == [
        {"index": 0, "text": sample.text, "logprobs": None, "finish_reason": "length"}
    ]
    assert (answer["object"], answer["model"]) == ("text_completion", "tiny")
    assert answer["id"].startswith("cmpl-")
    assert type(answer["created"]) is int


def test_a_prompt_may_be_token_ids(ask: Ask, served_model: GPT2) -> None:
    assert texts(ask(prompt=IDS, **GREEDY)) == [direct(served_model, IDS)[0].text]


@pytest.mark.parametrize("prompts", [["The", PROMPT, ""], [[84], IDS, []]])
def test_several_prompts_are_continued_in_their_order(ask: Ask, prompts: list[Any]) -> None:
    answer = ask(prompt=prompts, **GREEDY)

    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert texts(answer) == [ask(prompt=[each], **GREEDY)["choices"][0]["text"] for each in prompts]


def test_an_empty_prompt_is_the_end_of_a_text_before(ask: Ask) -> None:
    assert texts(ask(prompt="", **GREEDY)) == texts(ask(prompt=[int(END)], **GREEDY))


def test_without_max_tokens_there_are_16(ask: Ask) -> None:
    assert ask(prompt="The", temperature=0)["usage"]["completion_tokens"] == 16


def test_no_tokens_may_be_asked_for(ask: Ask) -> None:
    answer = ask(prompt=["The", PROMPT], max_tokens=0, n=2)

    assert texts(answer) == [""] * 4
    assert [choice["finish_reason"] for choice in answer["choices"]] == ["length"] * 4
    assert answer["usage"]["completion_tokens"] == 0


def test_samples_of_a_seed_differ_and_come_again(ask: Ask) -> None:
    fields = {"prompt": PROMPT, "n": 3, "seed": 4, "max_tokens": 12}

    first, again = ask(**fields), ask(**fields)

    assert texts(first) == texts(again)
    assert len(set(texts(first))) == 3
    assert texts(ask(**fields | {"seed": 5})) != texts(first)


def test_samples_of_a_seed_are_those_of_the_engine(ask: Ask, served_model: GPT2) -> None:
    answer = ask(prompt=PROMPT, n=3, seed=4, max_tokens=6, temperature=0.9)

    samples = direct(served_model, PROMPT, num_samples=3, seed=4, temperature=0.9)
    assert texts(answer) == [sample.text for sample in samples]


def test_a_text_does_not_depend_on_what_else_a_request_asks_for(ask: Ask) -> None:
    alone = texts(ask(prompt=PROMPT, seed=4, max_tokens=8))

    together = texts(ask(prompt=["The", PROMPT, "Copyright"], n=2, seed=4, max_tokens=8))

    assert together[2] == alone[0]


def test_without_a_seed_texts_differ(ask: Ask) -> None:
    fields = {"prompt": "The", "max_tokens": 20, "temperature": 2}

    assert texts(ask(**fields)) != texts(ask(**fields))


def test_choices_are_numbered_prompt_by_prompt(ask: Ask) -> None:
    answer = ask(prompt=["The", PROMPT], n=2, echo=True, max_tokens=1)

    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    prompts = [text[: len(prompt)] for text, prompt in zip(texts(answer), PROMPTS, strict=True)]
    assert prompts == PROMPTS


PROMPTS = ["The", "The", PROMPT, PROMPT]


def test_tokens_are_counted_once_a_prompt_and_once_a_choice(ask: Ask) -> None:
    answer = ask(prompt=[IDS, [84]], n=2, max_tokens=5, temperature=0, ignore_eos=True)

    assert answer["usage"] == {"prompt_tokens": 4, "completion_tokens": 20, "total_tokens": 24}


def test_a_stop_string_ends_a_text_and_is_no_part_of_it(ask: Ask) -> None:
    [whole] = texts(ask(prompt=PROMPT, **GREEDY))
    stop = whole[3:5]

    answer = ask(prompt=PROMPT, stop=stop, **GREEDY)

    assert texts(answer) == [whole[: whole.index(stop)]]
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_of_several_stop_strings_the_first_in_the_text_counts(ask: Ask) -> None:
    [whole] = texts(ask(prompt=PROMPT, **GREEDY))

    answer = ask(prompt=PROMPT, stop=[whole[4:6], "never", whole[2:4]], **GREEDY)

    assert texts(answer) == [whole[: min(whole.index(whole[4:6]), whole.index(whole[2:4]))]]


def test_a_token_may_end_a_text(ask: Ask) -> None:
    ids = ask(prompt="The", return_token_ids=True, **GREEDY)["choices"][0]["token_ids"]
    assert ids[2] not in ids[:2]

    answer = ask(prompt="The", return_token_ids=True, stop_token_ids=[ids[2]], **GREEDY)

    assert answer["choices"][0]["token_ids"] == ids[:2]
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["completion_tokens"] == 2


def test_the_end_of_a_text_is_no_part_of_it(ask: Ask) -> None:
    answer = ask(prompt=PROMPT, logit_bias={END: 100}, **GREEDY)

    assert (texts(answer), answer["choices"][0]["finish_reason"]) == ([""], "stop")
    assert answer["usage"]["completion_tokens"] == 0


def test_the_end_of_a_text_may_be_ignored(ask: Ask) -> None:
    answer = ask(prompt=PROMPT, logit_bias={END: 100}, ignore_eos=True, **GREEDY)

    assert texts(answer) == ["<|endoftext|>" * 6]
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    "settings",
    [
        {"presence_penalty": 2.0},
        {"frequency_penalty": 2.0},
        {"repetition_penalty": 5.0},
        {"logit_bias": {47: 20.0}},
        {"temperature": 1.5, "seed": 3, "top_k": 5},
        {"temperature": 1.5, "seed": 3, "top_p": 0.3},
        {"temperature": 1.5, "seed": 3, "min_p": 0.5},
    ],
    ids=lambda settings: list(settings)[-1],
)
def test_each_setting_does_what_it_does_in_the_engine(
    ask: Ask, served_model: GPT2, settings: dict[str, Any]
) -> None:
    fields = settings | {
        "logit_bias": {str(i): b for i, b in settings.get("logit_bias", {}).items()}
    }
    plain = settings | {"temperature": settings.get("temperature", 0.0)}
    without = {name: plain[name] for name in ("temperature", "seed") if name in plain}

    answer = ask(**{"prompt": PROMPT, "temperature": 0, "max_tokens": 12} | fields)

    assert texts(answer) == [direct(served_model, PROMPT, max_new_tokens=12, **plain)[0].text]
    assert texts(answer) != [direct(served_model, PROMPT, max_new_tokens=12, **without)[0].text]


@pytest.mark.parametrize("prompt", [PROMPT, "né <|endoftext|> 日", IDS])
def test_an_echo_is_the_prompt_before_its_text(ask: Ask, served_model: GPT2, prompt: Any) -> None:
    plain = ask(prompt=prompt, max_tokens=2, temperature=0)

    answer = ask(prompt=prompt, max_tokens=2, temperature=0, echo=True)

    is_text = isinstance(prompt, str)
    text = prompt if is_text else served_model.require_tokenizer().decode(prompt)
    assert texts(answer) == [text + texts(plain)[0]]
    assert answer["usage"] == plain["usage"]
    assert texts(ask(prompt=prompt, max_tokens=0, echo=True)) == [text]


def test_token_ids_come_if_asked_for(ask: Ask, served_model: GPT2) -> None:
    [choice] = ask(prompt=PROMPT, return_token_ids=True, **GREEDY)["choices"]

    [sample] = direct(served_model, PROMPT)
    assert choice["token_ids"] == sample.ids
    assert choice["prompt_token_ids"] == sample.prompt_ids


def network_log_probabilities(model: GPT2, ids: list[int]) -> torch.Tensor:  # (T, V)
    with torch.inference_mode():
        return model(torch.tensor([ids]))[0].double().log_softmax(dim=-1)


@pytest.mark.parametrize("end", [{}, {"ignore_eos": True, "stop_token_ids": [int(END)]}])
def test_scores_of_a_prompt_have_one_token_more_where_it_ends_at_once(
    ask: Ask, served_model: GPT2, end: dict[str, Any]
) -> None:
    fields = end | {"logit_bias": {END: 100}, "logprobs": 1, "max_tokens": 1}

    scored, plain = ask(prompt=IDS, echo=True, **fields), ask(prompt=IDS, **fields)

    [choice] = scored["choices"]
    listed = choice["logprobs"]
    expected = float(network_log_probabilities(served_model, IDS)[-1, int(END)])
    assert choice["text"] == served_model.require_tokenizer().decode(IDS)
    assert len(listed["tokens"]) == len(IDS) + 1
    assert listed["tokens"][-1] == "<|endoftext|>"
    assert listed["token_logprobs"][-1] == pytest.approx(expected, abs=1e-4)
    assert scored["usage"]["completion_tokens"] == 0
    assert plain["choices"][0]["logprobs"]["tokens"] == []


@pytest.mark.parametrize("count", [0, 1, 5, 20])
def test_log_probabilities_are_those_of_the_network(
    ask: Ask, served_model: GPT2, count: int
) -> None:
    [choice] = ask(prompt=IDS, logprobs=count, echo=True, return_token_ids=True, **GREEDY)[
        "choices"
    ]

    ids, listed = IDS + choice["token_ids"], choice["logprobs"]
    known = network_log_probabilities(served_model, ids)
    expected = [float(known[place, token]) for place, token in enumerate(ids[1:])]
    assert listed["token_logprobs"][0] is None
    assert listed["top_logprobs"][0] is None
    # Two ways of float32 through three layers.
    assert listed["token_logprobs"][1:] == pytest.approx(expected, abs=1e-4)
    for place, (token, top) in enumerate(zip(ids[1:], listed["top_logprobs"][1:], strict=True)):
        best, likeliest = known[place].topk(count)
        assert len(top) in (count, count + 1)
        assert list(top.values())[:count] == pytest.approx(best.tolist(), abs=1e-4)
        assert top[listed["tokens"][place + 1]] == listed["token_logprobs"][place + 1]
        assert len(top) == max(count, 1) or token not in likeliest.tolist()


def test_places_of_tokens_lead_to_their_text(ask: Ask) -> None:
    [choice] = ask(prompt="Permission né 日", logprobs=0, echo=True, **GREEDY)["choices"]

    text, listed = choice["text"], choice["logprobs"]
    whole = [
        text[place:].startswith(token)
        for token, place in zip(listed["tokens"], listed["text_offset"], strict=True)
        if not token.startswith("bytes:")
    ]
    assert len(whole) > 10
    assert all(whole)


def test_without_an_echo_places_begin_at_0(ask: Ask) -> None:
    fields = {"prompt": PROMPT, "logprobs": 2} | GREEDY
    [plain], [echo] = ask(**fields)["choices"], ask(**fields, echo=True)["choices"]

    new = len(plain["logprobs"]["tokens"])
    places = [place - len(PROMPT) for place in echo["logprobs"]["text_offset"][-new:]]
    assert plain["logprobs"]["text_offset"] == places
    for name in ("tokens", "token_logprobs", "top_logprobs"):
        assert plain["logprobs"][name] == echo["logprobs"][name][-new:]


def test_a_prompt_is_scored_alone_or_beside_new_tokens_alike(ask: Ask) -> None:
    fields = {"prompt": [PROMPT, "The"], "logprobs": 3, "echo": True, "temperature": 0}
    alone, beside = (ask(**fields, max_tokens=most, n=2)["choices"] for most in (0, 2))

    for short, long in zip(alone, beside, strict=True):
        for name, values in short["logprobs"].items():
            assert values == long["logprobs"][name][: len(values)]
        assert long["logprobs"]["text_offset"][len(values)] == len(short["text"])


def test_tokens_of_a_stop_string_are_listed_and_counted(ask: Ask) -> None:
    [whole] = ask(prompt="The", logprobs=0, **GREEDY)["choices"]
    stop = whole["logprobs"]["tokens"][2]

    answer = ask(prompt="The", logprobs=0, stop=stop, **GREEDY)

    [choice] = answer["choices"]
    listed = choice["logprobs"]["tokens"]
    assert listed == whole["logprobs"]["tokens"][: len(listed)]
    assert len(listed) == answer["usage"]["completion_tokens"]
    assert "".join(listed) == choice["text"] + stop


def test_tokens_may_be_written_by_their_ids(ask: Ask) -> None:
    fields = {"prompt": PROMPT, "logprobs": 1, "echo": True, "return_token_ids": True} | GREEDY
    [choice] = ask(**fields, return_tokens_as_token_ids=True)["choices"]

    ids = choice["prompt_token_ids"] + choice["token_ids"]
    assert choice["logprobs"]["tokens"] == [f"token_id:{i}" for i in ids]
    assert all(
        key.startswith("token_id:") for top in choice["logprobs"]["top_logprobs"][1:] for key in top
    )


@pytest.mark.parametrize(
    ("fields", "status", "code", "words"),
    [
        (
            {"prompt": "The", "max_tokens": 23},
            400,
            "context_length_exceeded",
            "24 .* 2 .* 23 .* 25",
        ),
        ({"prompt": "The " * 20}, 400, "context_length_exceeded", "24 tokens, got 60"),
        (
            {"prompt": [5] * 25, "max_tokens": 0},
            400,
            "context_length_exceeded",
            "24 tokens, got 25",
        ),
        ({"prompt": [300]}, 400, None, "0 to 299, got 300"),
        ({"prompt": "The", "logit_bias": {"300": 1}}, 400, None, "0 to 299, got 300"),
        ({"prompt": "The", "stop_token_ids": [300]}, 400, None, "0 to 299, got 300"),
        ({"prompt": ["a"] * 2000, "max_tokens": 1}, 400, None, "1088 texts, got 2000 prompts"),
        ({"prompt": "The", "model": "other"}, 404, "model_not_found", "'other'.* tiny"),
    ],
)
def test_what_a_model_cannot_do_is_refused(
    refusal: Ask, ask: Ask, fields: dict[str, Any], status: int, code: str | None, words: str
) -> None:
    given, error = refusal(**fields)

    assert (given, error["code"], error["type"]) == (status, code, "invalid_request_error")
    assert re.search(words, error["message"])
    assert texts(ask(prompt=PROMPT, **GREEDY))  # the server lives on


@pytest.mark.parametrize(
    "fields", [{"prompt": [[5], [300]]}, {"logit_bias": {"300": 1}}, {"stop_token_ids": [5, 300]}]
)
def test_a_refusal_names_the_field_with_an_id_that_the_model_does_not_have(
    refusal: Ask, fields: dict[str, Any]
) -> None:
    [name] = fields
    _, error = refusal(**{"prompt": "The", **fields})
    assert error["param"] == name and error["message"].startswith(f"{name} must have token ids")


def test_a_model_without_a_tokenizer_takes_and_gives_token_ids(
    serve_with: Any, model: GPT2
) -> None:
    model.tokenizer = None
    path = f"{serve_with({'bare': model}).url}/v1/completions"
    fields = {"echo": True, "logprobs": 1, "return_token_ids": True} | GREEDY

    answer = httpx.post(path, json={"prompt": IDS} | fields)
    refused = httpx.post(path, json={"prompt": PROMPT} | fields)

    [choice] = answer.json()["choices"]
    ids = IDS + choice["token_ids"]
    assert len(ids) == len(IDS) + 6
    assert (choice["text"], choice["logprobs"]["text_offset"]) == ("", [0] * len(ids))
    assert choice["logprobs"]["tokens"] == [f"token_id:{i}" for i in ids]
    assert refused.status_code == 400
    assert "no tokenizer" in refused.json()["error"]["message"]


def test_an_id_that_no_token_has_is_scored_and_has_no_text(
    serve_with: Any, gapped_model: GPT2
) -> None:
    path = f"{serve_with({'gapped': gapped_model}).url}/v1/completions"
    fields = {"prompt": [84, 300, 84], "echo": True, "logprobs": 1, "max_tokens": 0}

    [choice] = httpx.post(path, json=fields).json()["choices"]

    assert choice["text"] == "uu" == "".join(choice["logprobs"]["tokens"][::2])
    assert choice["logprobs"]["tokens"][1] == "token_id:300"
    assert choice["logprobs"]["token_logprobs"][1] == -9999.0
    assert choice["logprobs"]["text_offset"] == [0, 1, 1]
