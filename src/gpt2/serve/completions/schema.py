"""What do answers look like? For the OpenAPI document; answers themselves are made without it."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from gpt2.serve.errors import declared

FinishReason = Literal["stop", "length", "timeout", "abort"]


class LogProbabilityLists(BaseModel):
    """Four lists with an entry for each token."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(BaseModel):
    """One text."""

    index: int = Field(description="prompt * n + sample")
    text: str
    logprobs: LogProbabilityLists | None
    finish_reason: FinishReason | None = Field(description="null in all chunks before the last")
    token_ids: list[int] | None = Field(None, description="if asked for")
    prompt_token_ids: list[int] | None = Field(None, description="if asked for; in one chunk")


class Usage(BaseModel):
    """Counts of tokens."""

    prompt_tokens: int = Field(description="of each prompt once")
    completion_tokens: int
    total_tokens: int


class Completion(BaseModel):
    """The answer to a request for completions, and each chunk of a streamed one."""

    id: str
    object: Literal["text_completion"]
    created: int = Field(description="seconds since 1970")
    model: str
    choices: list[CompletionChoice]
    usage: Usage | None = None


RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "model": Completion,
        "description": "the texts; if streamed, server-sent events that end with [DONE]",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    **declared(400, 401, 403, 404, 408, 413, 415, 429, 500, 503),
}
