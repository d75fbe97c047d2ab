"""POST /v1/completions: from the request to its answer, whole or streamed."""

import asyncio
import time
from collections.abc import Iterable
from uuid import uuid4

from fastapi import APIRouter, Request
from fastapi.responses import Response

from gpt2.generation.generate import prompt_ids
from gpt2.serve.completions.answer import usage
from gpt2.serve.completions.choice import Choice
from gpt2.serve.completions.request import CompletionRequest, StreamOptions
from gpt2.serve.completions.schema import RESPONSES
from gpt2.serve.completions.stream import EventStream
from gpt2.serve.completions.texts import RequestTexts
from gpt2.serve.completions.token_strings import TokenStrings
from gpt2.serve.errors import ApiError
from gpt2.serve.long_work import in_thread_if_long
from gpt2.serve.middleware.request_log import note_usage
from gpt2.serve.models import ServedModel, ServedModels
from gpt2.serve.wire_format import compact
from gpt2.serve.worker import Order, QueueFullError

RETRY_AFTER = 1  # seconds: places become free at each step

Ids = list[list[int]]


def completions_router(models: ServedModels, time_limit: float) -> APIRouter:
    """Return the route of completions.

    Args:
        models: That may be asked.
        time_limit: Seconds that a request may take.
    """
    router = APIRouter()
    strings_by_model: dict[str, TokenStrings] = {}

    @router.post("/v1/completions", response_model=None, responses=RESPONSES)
    async def complete(body: CompletionRequest, request: Request) -> Response:
        """Continue one prompt or several."""
        model = models.find(body.model)
        prompts = await _read_prompts(model, body)
        texts = _submit(model, body, prompts, time_limit)
        tokenizer = model.model.require_tokenizer()
        strings = strings_by_model.setdefault(model.name, TokenStrings(tokenizer))
        choices = [Choice(i, body, texts, strings) for i in range(len(texts.writings))]
        head = {
            "id": f"cmpl-{uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": model.name,
        }

        def count() -> dict[str, int]:
            return usage(prompts, sum(choice.tokens for choice in choices))

        note_usage(request, len(prompts), count)
        if body.stream:
            options = body.stream_options or StreamOptions()
            return EventStream(texts, choices, head, count, options)
        async with texts.watched(request.receive):
            await texts.ended()
        parts = []
        for choice in choices:
            parts.append(compact(choice.take()))
            await asyncio.sleep(0)  # others are served meanwhile: many choices can take a second
        answer = f'{compact(head)[:-1]},"choices":[{",".join(parts)}],"usage":{compact(count())}}}'
        return Response(answer, media_type="application/json")

    return router


async def _read_prompts(model: ServedModel, body: CompletionRequest) -> Ids:
    """Return the tokens of the prompts.

    Raises:
        ApiError: There are too many, or one leaves no room for what is to be written.
        InputError: One cannot be read; see `prompt_ids`.
    """
    texts, most = len(body.prompt) * body.samples, model.worker.most
    if texts > most:
        raise ApiError(
            400,
            f"a request may ask for {most} texts, got {len(body.prompt)} prompts * "
            f"{body.samples} samples; send several requests",
            param="prompt" if body.samples <= most else "n",
        )
    _check_ids(model, body)
    _check_characters(model, body)
    prompts = await in_thread_if_long(
        sum(map(len, body.prompt)),
        lambda: [prompt_ids(model.model, prompt) for prompt in body.prompt],
    )
    for ids in prompts:
        _check_length(model, len(ids), body.most_new_tokens)
    return prompts


def _check_ids(model: ServedModel, body: CompletionRequest) -> None:
    """Raise ApiError for a token id that the model does not have, and name its field."""
    last = model.model.config.vocab_size - 1
    given: dict[str, Iterable[int]] = {
        "prompt": (i for prompt in body.prompt if not isinstance(prompt, str) for i in prompt),
        "stop_token_ids": body.stop_token_ids or [],
        "logit_bias": map(int, body.logit_bias or {}),
    }
    for param, ids in given.items():
        if (largest := max(ids, default=0)) > last:
            message = f"{param} must have token ids from 0 to {last}, got {largest}"
            raise ApiError(400, message, param=param)


def _check_characters(model: ServedModel, body: CompletionRequest) -> None:
    """Refuse a text that is far too long before the time is spent to tokenize it."""
    for prompt in body.prompt:
        if isinstance(prompt, str) and len(prompt) > model.most_characters:
            raise ApiError(
                400,
                f"the context has {model.most_tokens} tokens, got a prompt of {len(prompt)} "
                "characters; shorten it",
                param="prompt",
                code="context_length_exceeded",
            )


def _check_length(model: ServedModel, prompt: int, new: int) -> None:
    if prompt + new > model.most_tokens:
        raise ApiError(
            400,
            f"the context has {model.most_tokens} tokens, got {prompt} of the prompt and {new} to "
            f"write, {prompt + new} in all; shorten the prompt or lower max_tokens",
            param="prompt" if prompt > model.most_tokens else "max_tokens",
            code="context_length_exceeded",
        )


def _submit(
    model: ServedModel, body: CompletionRequest, prompts: Ids, time_limit: float
) -> RequestTexts:
    """Begin the texts: all samples of the first prompt, then those of the second, and so on."""
    config = body.generation_config()
    orders = [
        # The samples of a prompt have the same log-probabilities of it: one of them reads it all.
        Order(ids, config, sample, score_prompt=body.scores_prompts and sample == 0)
        for ids in prompts
        for sample in range(body.samples)
    ]
    try:
        return RequestTexts(model.worker, orders, time_limit)
    except QueueFullError as error:
        raise ApiError(
            429, str(error), code="rate_limit_exceeded", retry_after=RETRY_AFTER
        ) from error
