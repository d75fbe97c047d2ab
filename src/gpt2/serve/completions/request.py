"""What does a request for completions ask for? Its fields, checked."""

from typing import Annotated, Any

from annotated_types import Ge, Le, Len, Lt, MaxLen, MinLen
from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from gpt2.config import GenerationConfig
from gpt2.serve.errors import ApiError
from gpt2.serve.fields import Fields

MOST_SAMPLES = 128  # of a prompt; as OpenAI
MOST_STOPS = 16
MOST_STOP_CHARACTERS = 256
MOST_LOG_PROBABILITIES = 20
MOST_BIASES = 1024
MOST = 2**31 - 1  # of whole numbers that have no other bound
MAX_TOKENS = 16  # by default; as OpenAI

Prompt = str | list[int]


def as_prompts(value: Any) -> list[Prompt]:
    """Return the prompts that a request has: one or several, as texts or as token ids.

    Raises:
        ValueError: It is neither.
    """
    if value == []:
        raise ValueError("it must have at least one prompt")
    is_one = isinstance(value, str) or (isinstance(value, list) and type(value[0]) is int)
    listed = [value] if is_one else value
    kind = type(listed[0]) if isinstance(listed, list) else None
    if kind not in (str, list) or any(type(prompt) is not kind for prompt in listed):
        raise ValueError("it must be a text, a list of token ids, or a list of either")
    for prompt in listed:
        _check_text(prompt) if kind is str else _check_ids(prompt)
    return listed


def _check_text(prompt: str) -> None:
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise ValueError("a text must not have half of a surrogate pair") from None


def _check_ids(prompt: list[Any]) -> None:
    if any(type(token) is not int or not 0 <= token <= MOST for token in prompt):
        raise ValueError("token ids must be whole numbers of at least 0")


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


TokenId = Annotated[int, Ge(0), Le(MOST)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[Number, Ge(0), Le(1)]
Penalty = Annotated[Number, Ge(-2), Le(2)]
Stop = Annotated[str, Len(1, MOST_STOP_CHARACTERS)]
Stops = Annotated[list[Stop], Field(max_length=MOST_STOPS, fail_fast=True)]
Prompts = Annotated[
    list[Prompt],
    PlainValidator(
        as_prompts,
        json_schema_input_type=str
        | Annotated[list[TokenId], MinLen(1)]
        | Annotated[list[str], MinLen(1)]
        | Annotated[list[list[TokenId]], MinLen(1)],
    ),
]


def _check_count(value: Any) -> Any:
    """Refuse a long table before each of its entries is checked."""
    if isinstance(value, dict) and len(value) > MOST_BIASES:
        raise ValueError(f"it must have up to {MOST_BIASES} entries")
    return value


TokenKey = Annotated[str, Field(pattern="^[0-9]{1,9}$")]
Bias = Annotated[Number, Ge(-100), Le(100)]
Biases = Annotated[dict[TokenKey, Bias], MaxLen(MOST_BIASES), BeforeValidator(_check_count)]


class StreamOptions(Fields):
    """How to stream."""

    include_usage: bool | None = None
    """Count tokens in a last chunk, which has no choices."""


class CompletionRequest(Fields):
    """The body of POST /v1/completions; null is as good as a field that is not there.

    Source: "Create completion" of OpenAI's API reference; min_p, top_k, repetition_penalty,
    ignore_eos, stop_token_ids, return_token_ids and return_tokens_as_token_ids are vLLM's.
    """

    model: str | None = None
    """Name of a model that is served; the first if not given."""
    prompt: Prompts
    """What to continue: a text, a list of token ids, or a list of either. <|endoftext|> in a text
    is that token, and an empty prompt is it alone."""
    max_tokens: Annotated[int, Ge(0), Le(MOST)] | None = None
    """Tokens to write at the most, 16 if not given; 0 to have only the prompt's echo."""
    temperature: Annotated[Number, Ge(0)] | None = None
    """Divides the logits: 0 is greedy; 1 if not given."""
    top_p: Share | None = None
    """Sample from the fewest likeliest tokens that together have this probability."""
    top_k: Annotated[int, Ge(-1), Le(MOST)] | None = None
    """Sample from so many of the likeliest tokens; -1 or 0 for all."""
    min_p: Share | None = None
    """Sample from tokens at least so many times as likely as the likeliest."""
    n: Annotated[int, Ge(1), Le(MOST_SAMPLES)] | None = None
    """Choices for each prompt, 1 if not given."""
    best_of: Annotated[int, Ge(1), Le(MOST_SAMPLES)] | None = None
    """The same as n, if given."""
    stop: (
        Annotated[Stops, BeforeValidator(_as_list, json_schema_input_type=Stop | Stops)] | None
    ) = None
    """Strings that end a text and are no part of it."""
    stop_token_ids: (
        Annotated[list[TokenId], Field(max_length=MOST_BIASES, fail_fast=True)] | None
    ) = None
    """Token ids that end a text and are no part of it."""
    ignore_eos: bool | None = None
    """Go on after <|endoftext|>."""
    seed: Annotated[int, Ge(-(2**63)), Lt(2**63)] | None = None
    """Seed of the draws: the same request gives the same texts again."""
    echo: bool | None = None
    """Begin each choice with its prompt. Its logprobs then have the token that ended it, too."""
    logprobs: Annotated[int, Ge(0), Le(MOST_LOG_PROBABILITIES)] | None = None
    """Report the log-probability of each token, and so many of the likeliest in its place."""
    presence_penalty: Penalty | None = None
    """Subtracted from the logit of each token that the new text holds."""
    frequency_penalty: Penalty | None = None
    """Subtracted from the logit of a token as often as the new text holds it."""
    repetition_penalty: Annotated[Number, Ge(0.01), Le(100)] | None = None
    """Divides positive logits of tokens of prompt and text, multiplies negative ones."""
    logit_bias: Biases | None = None
    """Token ids, and what to add to the logit of each."""
    stream: bool | None = None
    """Send the texts as they are written, as server-sent events."""
    stream_options: StreamOptions | None = None
    """How to stream; only with "stream": true."""
    return_token_ids: bool | None = None
    """Add the token ids of prompts and texts."""
    return_tokens_as_token_ids: bool | None = None
    """Write the tokens of logprobs as token_id:N."""
    user: str | None = None
    """Who asks; it changes nothing."""

    @model_validator(mode="after")
    def _check_together(self) -> "CompletionRequest":
        if self.stream_options is not None and not self.stream:
            raise ApiError(
                400, 'stream_options needs "stream": true; leave it out', param="stream_options"
            )
        if self.best_of not in (None, self.samples):
            raise ApiError(
                400, f"best_of must be n, {self.samples}, got {self.best_of}", param="best_of"
            )
        return self

    @property
    def samples(self) -> int:
        """Choices for each prompt."""
        return 1 if self.n is None else self.n

    @property
    def most_new_tokens(self) -> int:
        """Tokens to write at the most."""
        return MAX_TOKENS if self.max_tokens is None else self.max_tokens

    @property
    def includes_usage(self) -> bool:
        """Whether a last chunk counts the tokens."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def scores_prompts(self) -> bool:
        """Whether the answer has the log-probabilities of the prompts."""
        return bool(self.echo) and self.logprobs is not None

    def generation_config(self) -> GenerationConfig:
        """Return how to write each text.

        Raises:
            ConfigError: A setting is out of range.
        """
        given = {
            "max_new_tokens": self.most_new_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "top_k": self.top_k if self.top_k and self.top_k > 0 else None,
            "min_p": self.min_p,
            "stop": None if self.stop is None else tuple(self.stop),
            "stop_ids": None if self.stop_token_ids is None else tuple(self.stop_token_ids),
            "ignore_end": self.ignore_eos,
            # OpenAI's seeds may be negative, ours may not.
            "seed": None if self.seed is None else self.seed % 2**63,
            "top_log_probabilities": self.logprobs,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "repetition_penalty": self.repetition_penalty,
            "logit_bias": {int(token): bias for token, bias in (self.logit_bias or {}).items()},
        }
        settings: dict[str, Any] = {
            name: value for name, value in given.items() if value is not None
        }
        return GenerationConfig(**settings)
