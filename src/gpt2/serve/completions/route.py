"""POST /v1/completions: from the request to its answer, whole or streamed."""

import json
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response, StreamingResponse

from gpt2.generation.generate import prompt_ids
from gpt2.serve.completions.request import CompletionRequest
from gpt2.serve.models import ServedModel, ServedModels
from gpt2.serve.worker import Order, Writing


def completions_router(models: ServedModels) -> APIRouter:
    """Return the route of completions."""
    router = APIRouter()

    @router.post("/v1/completions")
    async def complete(request: CompletionRequest) -> Response:
        """Continue one prompt or several."""
        model = models.find(request.model)
        ids = prompt_ids(model.model, request.prompt)
        [writing] = model.worker.submit([Order(ids, request.generation_config())])
        head = {
            "id": f"cmpl-{uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": model.name,
        }
        if request.stream:
            return StreamingResponse(_events(head, writing, model), media_type="text/event-stream")
        while not writing.has_ended:
            await writing.changed.wait()
            writing.changed.clear()
        return JSONResponse(head | {"choices": [_choice(writing, 0)]})

    return router


async def _events(head: dict[str, Any], writing: Writing, model: ServedModel) -> AsyncIterator[str]:
    shown = 0
    try:
        while not writing.has_ended:
            await writing.changed.wait()
            writing.changed.clear()
            yield f"data: {json.dumps(head | {'choices': [_choice(writing, shown)]})}\n\n"
            shown = writing.pieces
        yield "data: [DONE]\n\n"
    finally:
        model.worker.cancel([writing])


def _choice(writing: Writing, shown: int) -> dict[str, Any]:
    text = "".join(text for text, _ in writing.text.pieces[shown : writing.pieces])
    return {"index": 0, "text": text, "finish_reason": writing.finish_reason}
