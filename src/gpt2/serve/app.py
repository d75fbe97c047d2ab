"""The server as one ASGI application: its routes, and how each answers what goes wrong."""

from fastapi import FastAPI
from fastapi.responses import Response

from gpt2.config import ServeConfig
from gpt2.serve.completions.route import completions_router
from gpt2.serve.errors import add_error_handlers
from gpt2.serve.explore import explore_router, explorer_data
from gpt2.serve.metrics import Metrics
from gpt2.serve.model_list import model_list_router
from gpt2.serve.models import ServedModels
from gpt2.serve.pages import page_response, web_router
from gpt2.serve.paths import METRICS
from gpt2.serve.tokenization import tokenization_router
from gpt2.serve.watch.router import watch_router


def make_app(models: ServedModels, metrics: Metrics, config: ServeConfig) -> FastAPI:
    """Return the application that serves some models."""
    needs_key = config.api_key is not None
    # A redirect would lead from https to http, as a proxy hides which of them the client uses.
    app = FastAPI(title="gpt2-from-scratch", docs_url=None, redoc_url=None, redirect_slashes=False)
    add_error_handlers(app)
    metrics.watch(models)
    app.include_router(completions_router(models, config.time_limit))
    app.include_router(model_list_router(models))
    app.include_router(tokenization_router(models))
    app.include_router(explore_router(models))
    app.include_router(web_router())
    app.include_router(watch_router(models.runs, needs_key=needs_key))

    @app.get("/", include_in_schema=False)
    def show_page() -> Response:
        """Return the page to play with the models."""
        page = explorer_data(models, needs_key=needs_key, has_run=bool(models.runs))
        return page_response("explorer.js", "GPT-2", {"page": page})

    @app.get(METRICS, response_class=Response)
    def show_metrics() -> Response:
        """Return the server's metrics, as Prometheus reads them."""
        return metrics.answer()

    return app
