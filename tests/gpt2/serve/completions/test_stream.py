"""Streamed answers of POST /v1/completions: together they are the whole answer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from gpt2.generation.log_probabilities import Token
from gpt2.serve.completions.answer import TokenStrings
from gpt2.serve.completions.choice import Choice
from gpt2.serve.completions.request import CompletionRequest
from gpt2.serve.completions.stream import EventStream
from gpt2.serve.worker import Writing

Ask = Callable[..., Any]

PROMPT = "Permission is"
GREEDY = {"temperature": 0, "max_tokens": 12}
LISTS = ("tokens", "token_logprobs", "top_logprobs", "text_offset")


def joined(chunks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the choices of a stream, put together."""
    whole: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for part in chunk["choices"]:
            choice = whole.setdefault(part["index"], part | {"text": ""})
            assert choice is part or choice["finish_reason"] is None or choice["text"] == ""
            choice["text"] += part["text"]
            choice["finish_reason"] = part["finish_reason"]
            if choice["logprobs"] is not part["logprobs"]:
                for name in LISTS:
                    choice["logprobs"][name] += part["logprobs"][name]
            if choice.get("token_ids") is not part.get("token_ids"):
                choice["token_ids"] += part["token_ids"]
    return [whole[index] for index in sorted(whole)]


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": PROMPT},
        {"prompt": ["The", PROMPT], "n": 2, "seed": 1, "temperature": 1},
        {"prompt": PROMPT, "echo": True},
        {"prompt": PROMPT, "echo": True, "max_tokens": 0},
        {"prompt": PROMPT, "logprobs": 2},
        {"prompt": ["The", PROMPT], "echo": True, "logprobs": 2, "n": 2},
        {"prompt": "", "echo": True, "logprobs": 0, "max_tokens": 0},
        {"prompt": "The", "stop": ["never", "oftw"], "logprobs": 0},
        {"prompt": "The", "stop": ["isoftwI"], "return_token_ids": True},
        {"prompt": "The", "logit_bias": {"299": 100}},
        {"prompt": [84], "return_token_ids": True, "return_tokens_as_token_ids": True},
        {"prompt": "The", "seed": 2, "temperature": 3, "max_tokens": 20, "logprobs": 1},
    ],
    ids=str,
)
def test_a_stream_is_the_whole_answer_in_parts(
    ask: Ask, chunks: Ask, fields: dict[str, Any]
) -> None:
    fields = GREEDY | fields
    whole = ask(**fields)

    parts = chunks(**fields)

    assert joined(parts) == whole["choices"]
    for part in parts:
        assert set(part) == {"id", "object", "created", "model", "choices"}
        assert (part["id"], part["created"]) == (parts[0]["id"], parts[0]["created"])
        assert (part["object"], part["model"]) == ("text_completion", "tiny")
        assert len(part["choices"]) == 1


def test_each_choice_ends_once_and_nothing_follows(chunks: Ask) -> None:
    parts = chunks(prompt=["The", PROMPT], n=2, **GREEDY)

    reasons: dict[int, list[Any]] = {}
    for part in parts:
        [choice] = part["choices"]
        reasons.setdefault(choice["index"], []).append(choice["finish_reason"])
    assert sorted(reasons) == [0, 1, 2, 3]
    for of_choice in reasons.values():
        assert of_choice[-1] == "length"
        assert set(of_choice[:-1]) <= {None}


def test_usage_comes_in_a_last_chunk_without_choices_if_asked_for(ask: Ask, chunks: Ask) -> None:
    fields = {"prompt": ["The", PROMPT], "n": 2, "stop": "oftw"} | GREEDY

    *parts, last = chunks(**fields, stream_options={"include_usage": True})

    assert last["choices"] == []
    assert last["usage"] == ask(**fields)["usage"]
    assert last["id"] == parts[0]["id"]
    assert [part["usage"] for part in parts] == [None] * len(parts)
    without = chunks(**fields, stream_options={"include_usage": False})
    assert all("usage" not in part for part in without)


class ByHand:
    """A text that a test writes, in place of an engine."""

    def __init__(self, **fields: Any) -> None:
        text = SimpleNamespace(
            prompt_ids=[65, 66], prompt_tokens=[], pieces=[], tokens=[], end_token=None
        )
        self.writings = [Writing(text)]  # type: ignore[arg-type]
        self.timed_out = False
        self.is_watched = False
        request = CompletionRequest.model_validate({"prompt": "AB", "stream": True} | fields)
        self.choice = Choice(0, request, self, TokenStrings(None))  # type: ignore[arg-type]

    def write(self, text: str, token: int, log_probability: float = -1.0) -> None:
        [writing] = self.writings
        writing.text.pieces.append((text, writing.tokens))
        writing.text.tokens.append(Token(token, log_probability))
        writing.tokens, writing.pieces = writing.tokens + 1, writing.pieces + 1

    def end(self, reason: Any = "length") -> None:
        self.writings[0].finish_reason = reason

    async def changed(self) -> None:
        """The text has always changed: a test writes between any two writes of the stream."""

    @asynccontextmanager
    async def watched(self, receive: Any) -> AsyncIterator[None]:
        self.is_watched = True
        yield
        self.is_watched = False


def test_a_choice_gives_each_part_once() -> None:
    text = ByHand()
    assert text.choice.take() is None

    text.write("a", 97)
    text.write("b", 98)
    first = text.choice.take()
    nothing = text.choice.take()
    text.write("c", 99)
    text.end()

    assert first == {"index": 0, "text": "ab", "logprobs": None, "finish_reason": None}
    assert nothing is None
    assert text.choice.take() == {
        "index": 0,
        "text": "c",
        "logprobs": None,
        "finish_reason": "length",
    }
    assert text.choice.take() is None
    assert text.choice.has_ended


def test_tokens_are_listed_before_their_text_is_known_if_asked_for() -> None:
    plain, listed = ByHand(), ByHand(return_token_ids=True)
    for text in (plain, listed):
        [writing] = text.writings
        writing.text.tokens.append(Token(97, -1.0))
        writing.tokens = 1

    assert plain.choice.take() is None
    part = listed.choice.take()
    assert part is not None
    assert (part["text"], part["token_ids"]) == ("", [97])


def test_token_ids_of_the_prompt_come_once() -> None:
    text = ByHand(return_token_ids=True)
    text.write("a", 97)
    first = text.choice.take()
    text.write("b", 98)
    second = text.choice.take()

    assert first is not None
    assert (first["prompt_token_ids"], first["token_ids"]) == ([65, 66], [97])
    assert second is not None
    assert "prompt_token_ids" not in second
    assert second["token_ids"] == [98]


def test_an_echo_waits_for_the_log_probabilities_of_the_prompt() -> None:
    text = ByHand(echo=True, logprobs=0)
    before = text.choice.take()
    [writing] = text.writings
    writing.text.prompt_tokens = [Token(66, -2.0)]
    writing.prompt_is_read = True

    part = text.choice.take()

    assert before is None
    assert part is not None
    assert part["logprobs"]["token_logprobs"] == [None, -2.0]


@pytest.mark.parametrize(("timed_out", "reason"), [(True, "timeout"), (False, "abort")])
def test_a_text_that_ends_before_its_prompt_is_read_says_why(timed_out: bool, reason: str) -> None:
    text = ByHand(echo=True, logprobs=0)
    text.timed_out = timed_out
    text.end("cancelled")

    part = text.choice.take()

    assert part is not None
    assert part["finish_reason"] == reason
    assert part["logprobs"]["token_logprobs"] == [None, None]


def test_what_comes_while_the_client_does_not_read_is_one_chunk() -> None:
    text, sent = ByHand(), []
    text.write("a", 97)

    async def send(message: Any) -> None:
        assert text.is_watched
        sent.append(message)
        if len(sent) == 2:  # the first chunk: while it is sent, the engine goes on
            for letter in "bcd":
                text.write(letter, ord(letter))
            text.end()

    stream = EventStream(text, [text.choice], {"id": "x"}, None)  # type: ignore[arg-type]
    asyncio.run(stream({}, None, send))  # type: ignore[arg-type]

    assert [message.get("body") for message in sent] == [
        None,
        b'data: {"id":"x","choices":[{"index":0,"text":"a","logprobs":null,'
        b'"finish_reason":null}]}\n\n',
        b'data: {"id":"x","choices":[{"index":0,"text":"bcd","logprobs":null,'
        b'"finish_reason":"length"}]}\n\n',
        b"data: [DONE]\n\n",
    ]
    assert not text.is_watched
