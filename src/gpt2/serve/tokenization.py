"""How does a model's tokenizer divide a text? Over HTTP, in vLLM's form."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from gpt2.serve.completions.request import TokenId
from gpt2.serve.completions.token_strings import TokenStrings
from gpt2.serve.errors import declared
from gpt2.serve.fields import Fields
from gpt2.serve.long_work import in_thread_if_long
from gpt2.serve.models import ServedModels


class _Request(Fields):
    model: str | None = None
    """Name of a model that is served; the first if not given."""


class TokenizeRequest(_Request):
    """The body of POST /tokenize."""

    prompt: str
    """A text, in which <|endoftext|> is that token."""
    add_special_tokens: bool | None = None
    """As vLLM has it; GPT-2 adds none, so it changes nothing."""
    return_token_strs: bool | None = None
    """Return the tokens as strings, too."""


class Tokens(BaseModel):
    """The tokens of a text."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class TokenizerInfo(BaseModel):
    """The special tokens."""

    bos_token: str | None
    eos_token: str | None


class DetokenizeRequest(_Request):
    """The body of POST /detokenize."""

    tokens: Annotated[list[TokenId], Field(fail_fast=True)]


class Text(BaseModel):
    """The text of some tokens; U+FFFD where their bytes are no characters."""

    prompt: str


def tokenization_router(models: ServedModels) -> APIRouter:
    """Return the routes from texts to tokens and back."""
    router = APIRouter()
    errors = declared(400, 401, 403, 404, 408, 413, 415, 503)

    @router.post("/tokenize", responses=errors)
    async def tokenize(request: TokenizeRequest) -> Tokens:
        """Return the tokens of a text."""
        model = models.find(request.model)
        tokenizer = model.model.require_tokenizer()
        tokens = await in_thread_if_long(
            len(request.prompt), lambda: tokenizer.encode(request.prompt, allowed_special="all")
        )
        strings = TokenStrings(tokenizer)
        return Tokens(
            count=len(tokens),
            max_model_len=model.most_tokens,
            tokens=tokens,
            token_strs=[strings[i] for i in tokens] if request.return_token_strs else None,
        )

    @router.post("/detokenize", responses=errors)
    async def detokenize(request: DetokenizeRequest) -> Text:
        """Return the text of some tokens."""
        tokenizer = models.find(request.model).model.require_tokenizer()
        text = await in_thread_if_long(
            len(request.tokens), lambda: tokenizer.decode(request.tokens)
        )
        return Text(prompt=text)

    @router.get("/tokenizer_info", responses=errors)
    async def describe_tokenizer(model: str | None = None) -> TokenizerInfo:
        """Return the special tokens; lm-eval asks for them."""
        known = models.find(model).model
        tokenizer = known.require_tokenizer()
        names = {i: name for name, i in tokenizer.vocabulary.special_tokens.items()}
        ends = sorted(known.end_ids)
        return TokenizerInfo(
            bos_token=None if known.start_id is None else names.get(known.start_id),
            eos_token=names.get(ends[0]) if ends else None,
        )

    return router
