"""How does the page look inside the models that run? What each computes, and its pictures."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from gpt2.errors import Gpt2Error
from gpt2.files.pretrained import GPT2
from gpt2.serve.errors import ApiError
from gpt2.serve.fields import Fields
from gpt2.serve.models import ServedModel, ServedModels
from gpt2.serve.wire_format import compact
from gpt2.visual.capture import Recording, record
from gpt2.visual.gallery.colors import page_colors
from gpt2.visual.gallery.facts import model_facts, vocabulary
from gpt2.visual.gallery.inside import inside_recorded, lens_of, most_tokens
from gpt2.visual.gallery.page import EXAMPLES, example_texts
from gpt2.visual.gallery.pictures import drawings, picture_entry

MOST_WAITING = 16  # requests that wait for their turn; each may hold a body
MOST_CHARACTERS = 100_000  # of a text


class InsideRequest(Fields):
    """Which text to look into."""

    model: str | None = None
    text: (
        Annotated[str, Field(max_length=MOST_CHARACTERS)]
        | Annotated[list[int], Field(max_length=MOST_CHARACTERS)]
    )
    """The text, or its token ids."""
    first: Annotated[int, Field(ge=0)] | None = None
    """Position of the first token that is shown, and that the model reads: those before it are left
    out as if the text began there. If it is not given, the last tokens are shown."""


def explorer_data(
    models: ServedModels, *, needs_key: bool = False, has_run: bool = False
) -> dict[str, Any]:
    """Return what the page at / knows from the start, as strict JSON."""
    return {
        "models": [_facts(model) for model in models],
        "colors": page_colors(),
        "examples": EXAMPLES,
        "needsKey": needs_key,
        "hasRun": has_run,
    }


def explore_router(models: ServedModels) -> APIRouter:
    """Return the routes that the page at / asks."""
    router = APIRouter(prefix="/explore", include_in_schema=False)
    of_texts, of_lenses, of_pictures = _Turns(), _Turns(), _Turns()
    pictures: dict[tuple[str, str], bytes] = {}

    @router.get("/vocabulary")
    async def show_vocabulary(request: Request, model: str | None = None) -> Response:
        """Return the text of each token id of a model."""
        served = models.find(model)
        return await of_texts.do(request, lambda: _json({"vocabulary": vocabulary(served.model)}))

    @router.post("/inside")
    async def look_inside(request: Request, body: InsideRequest) -> Response:
        """Return what a model computes for a text."""
        served = models.find(body.model)
        return await of_texts.do(request, lambda: _json(_inside(served, body)))

    @router.post("/lens")
    async def look_through_lens(request: Request, body: InsideRequest) -> Response:
        """Return what a model would predict after each of its blocks."""
        served = models.find(body.model)
        return await of_lenses.do(request, lambda: _json(_lens(served, body)))

    @router.get("/pictures")
    async def list_pictures(request: Request, model: str | None = None) -> Response:
        """Return the names of the pictures of a model."""
        served = models.find(model)

        def names() -> bytes:
            return _json({"pictures": [drawing.name for drawing in _drawings(served)]})

        return await of_texts.do(request, names)

    @router.get("/picture")
    async def show_picture(request: Request, name: str, model: str | None = None) -> Response:
        """Return a picture of a model, with what is written to it."""
        served = models.find(model)
        key = (served.name, name)

        def drawn() -> bytes:
            if key not in pictures:
                pictures[key] = _json(_picture(served, name))
            return pictures[key]

        return await of_pictures.do(request, drawn)

    return router


class _Turns:
    """Does work beside the event loop, one piece at a time; those whose client has gone are not."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def do(self, request: Request, work: Callable[[], bytes]) -> Response:
        if self._waiting >= MOST_WAITING:
            raise ApiError(
                429, f"up to {MOST_WAITING} requests may wait, and so many do", retry_after=1
            )
        self._waiting += 1
        try:
            async with self._turn:
                if await request.is_disconnected():
                    return Response(status_code=499)  # which nobody reads
                content = await asyncio.to_thread(work)
        except Gpt2Error as error:  # the text does not fit, or the model has diverged
            raise ApiError(400, str(error)) from error
        finally:
            self._waiting -= 1
        return Response(content, media_type="application/json")


def _json(value: dict[str, Any]) -> bytes:
    return compact(value).encode()


def _facts(served: ServedModel) -> dict[str, Any]:
    return model_facts(served.model, served.name) | {"most_tokens": served.most_tokens}


def _inside(served: ServedModel, body: InsideRequest) -> dict[str, Any]:
    model = served.whole()
    ids = _ids(served, body)
    text = body.text if isinstance(body.text, str) else model.require_tokenizer().decode(ids)
    first = _first(model, ids, body)
    looks = inside_recorded(model, _recorded(model, ids, body))
    return {"text": text, "whole": ids, "length": len(ids), "first": first, **looks}


def _lens(served: ServedModel, body: InsideRequest) -> dict[str, Any]:
    model = served.whole()
    return lens_of(model, _recorded(model, _ids(served, body), body))


def _ids(served: ServedModel, body: InsideRequest) -> list[int]:
    if isinstance(body.text, str):
        return served.model.require_tokenizer().encode(body.text, allowed_special="all")
    _check_ids(served, body.text)
    return body.text


def _first(model: GPT2, ids: list[int], body: InsideRequest) -> int:
    last = max(0, len(ids) - most_tokens(model))
    return last if body.first is None else min(last, body.first)


def _recorded(model: GPT2, ids: list[int], body: InsideRequest) -> Recording:
    first = _first(model, ids, body)
    return record(model, ids[first : first + most_tokens(model)])


def _check_ids(served: ServedModel, ids: list[int]) -> None:
    unused = set(served.model.unused_ids)
    size = served.model.config.vocab_size
    for i in ids:
        if not 0 <= i < size or i in unused:
            raise ApiError(400, f"text must be of ids that a token has, got {i}", param="text")


def _drawings(served: ServedModel) -> Any:
    model = served.whole()
    return drawings(model, str(served.directory), example_texts(model)[0])


def _picture(served: ServedModel, name: str) -> dict[str, Any]:
    known = {drawing.name: drawing for drawing in _drawings(served)}
    if name not in known:
        raise ApiError(404, f"no picture {name!r:.80}; there are {', '.join(known)}", param="name")
    return picture_entry(known[name])
