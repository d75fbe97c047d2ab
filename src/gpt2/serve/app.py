"""The server as one ASGI application: its routes, and how each answers what goes wrong."""

from fastapi import FastAPI
from fastapi.responses import Response

from gpt2.serve.completions.route import completions_router
from gpt2.serve.errors import add_error_handlers
from gpt2.serve.listing import listing_router
from gpt2.serve.models import ServedModels
from gpt2.serve.pages import mount_web, page_response
from gpt2.serve.tokenization import tokenization_router


def make_app(models: ServedModels) -> FastAPI:
    """Return the application that serves some models."""
    app = FastAPI(title="gpt2-from-scratch", docs_url=None, redoc_url=None)
    app.include_router(completions_router(models))
    app.include_router(listing_router(models))
    app.include_router(tokenization_router(models))
    add_error_handlers(app)
    mount_web(app)

    @app.get("/", include_in_schema=False)
    def show_page() -> Response:
        """Return the page to play with the models."""
        known = [{"name": model.name, "most_tokens": model.most_tokens} for model in models]
        return page_response("explorer.js", "GPT-2", {"page": {"models": known}})

    return app
