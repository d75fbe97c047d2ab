"""The server as one ASGI application: its routes, and how each answers what goes wrong."""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from gpt2.serve.completions.route import completions_router
from gpt2.serve.errors import ApiError
from gpt2.serve.explore import explore_router, explorer_data
from gpt2.serve.models import ServedModels
from gpt2.serve.pages import mount_web, page_response


def make_app(models: ServedModels) -> FastAPI:
    """Return the application that serves some models."""
    app = FastAPI(title="gpt2-from-scratch", docs_url=None, redoc_url=None)
    app.include_router(completions_router(models))
    app.include_router(explore_router(models))
    mount_web(app)

    @app.get("/", include_in_schema=False)
    def show_page() -> Response:
        """Return the page to play with the models."""
        return page_response("explorer.js", "GPT-2", {"page": explorer_data(models)})

    @app.exception_handler(ApiError)
    def answer_error(request: Request, error: ApiError) -> JSONResponse:
        wait = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
        return JSONResponse(error.body(), status_code=error.status, headers=wait)

    return app
