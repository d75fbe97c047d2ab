"""Which models may be asked? OpenAI's list of them."""

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel

from gpt2.serve.errors import ApiError, declared
from gpt2.serve.models import ServedModel, ServedModels


class ModelEntry(BaseModel):
    """A model that is served."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "gpt2-from-scratch"
    max_model_len: int


class ModelList(BaseModel):
    """All models that are served."""

    object: Literal["list"] = "list"
    data: list[ModelEntry]


def model_list_router(models: ServedModels) -> APIRouter:
    """Return the routes that list models, and one that refuses chats."""
    router = APIRouter()

    @router.get("/v1/models", responses=declared(401, 403))
    async def list_models() -> ModelList:
        """List the models."""
        return ModelList(data=[_entry(model) for model in models])

    @router.get("/v1/models/{name:path}", responses=declared(401, 403, 404))
    async def describe_model(name: str) -> ModelEntry:
        """Describe a model."""
        return _entry(models.find(name))

    @router.post("/v1/chat/completions", include_in_schema=False)
    async def refuse_chat() -> Any:
        raise ApiError(
            404,
            "a base model continues texts and has no form for chats; use /v1/completions",
            code="no_chat",
        )

    return router


def _entry(model: ServedModel) -> ModelEntry:
    return ModelEntry(id=model.name, created=model.created, max_model_len=model.most_tokens)
