"""How does the application answer what goes wrong? Always in OpenAI's form."""

from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gpt2.serve.errors import ApiError

CODES = {404: "not_found", 405: "method_not_allowed"}


def error_answer(error: ApiError, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the answer of an error, which is an ASGI application, too."""
    wait = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return JSONResponse(error.body(), status_code=error.status, headers={**(headers or {}), **wait})


def unexpected_answer() -> JSONResponse:
    """Return the answer of a defect; what it was may hold parts of the request, so it is not said.

    The log has the type and the place.
    """
    return error_answer(ApiError(500, "the server failed at this request; its log says where"))


def answer_errors(app: FastAPI) -> None:
    """Let an application answer errors in OpenAI's form."""

    @app.exception_handler(ApiError)
    def answer(request: Request, error: ApiError) -> JSONResponse:
        return error_answer(error)

    @app.exception_handler(HTTPException)
    def answer_routing(request: Request, error: HTTPException) -> JSONResponse:
        what = f"{request.method} {request.url.path}"
        message = {
            404: f"there is no {what:.200}; see /openapi.json for what there is",
            405: f"{what:.200} is not possible; the header Allow names the methods that are",
        }.get(error.status_code, str(error.detail))
        wrong = ApiError(error.status_code, message, code=CODES.get(error.status_code))
        return error_answer(wrong, error.headers)

    @app.exception_handler(Exception)
    def answer_defect(request: Request, error: Exception) -> JSONResponse:
        return unexpected_answer()
