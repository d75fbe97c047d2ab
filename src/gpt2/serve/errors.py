"""How does the server answer a request that failed? In OpenAI's form, in one clear line."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from pathlib import PurePath
from reprlib import Repr
from traceback import extract_tb
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from gpt2.errors import ConfigError, Gpt2Error, InputError
from gpt2.serve.wire_format import compact
from llm_tokenizer.errors import TokenizerError

MOST_SHOWN = 60  # characters of a wrong value in a message
MISTAKES = (InputError, ConfigError, TokenizerError)  # what the client can mend


class ApiError(Exception):
    """An answer that is an error.

    Args:
        status: Of HTTP, 400 to 599.
        message: What was wanted, what came, what to do.
        param: Which field of the request is wrong, if one is.
        code: For programs.
        retry_after: Seconds after which to try again, if that may help.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.retry_after = retry_after

    def body(self) -> dict[str, Any]:
        """Return the answer's JSON.

        Source: the error object of OpenAI's API reference.
        """
        error = {
            "message": self.message,
            "type": _kind(self.status),
            "param": self.param,
            "code": self.code,
        }
        return {"error": error}

    def response(self, headers: Mapping[str, str] | None = None) -> Response:
        """Return the answer."""
        wait = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return Response(
            compact(self.body()),
            status_code=self.status,
            headers={**(headers or {}), **wait},
            media_type="application/json",
        )


class ErrorFields(BaseModel):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    """The answer to a request that failed."""

    error: ErrorFields


def declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error answers of a route, for its OpenAPI document."""
    listed: dict[int | str, str] = {status: HTTPStatus(status).phrase for status in statuses}
    listed["4XX"] = "Another mistake of the client"
    return {status: {"model": ErrorBody, "description": text} for status, text in listed.items()}


def add_error_handlers(app: FastAPI) -> None:
    """Let an app answer every failure in OpenAI's form."""

    @app.exception_handler(ApiError)
    def answer_error(request: Request, error: ApiError) -> Response:
        return error.response()

    @app.exception_handler(RequestValidationError)
    def answer_wrong_fields(request: Request, error: RequestValidationError) -> Response:
        return as_api_error(error.errors()).response()

    @app.exception_handler(HTTPException)
    def answer_http(request: Request, error: HTTPException) -> Response:
        return _of_http(request, error).response(error.headers)

    @app.exception_handler(Exception)
    @app.exception_handler(Gpt2Error)
    @app.exception_handler(TokenizerError)
    def answer_failure(request: Request, error: Exception) -> Response:
        return as_failure(error).response()


def as_failure(error: Exception) -> ApiError:
    """Return the answer to what an exception stopped: 400 if the client can mend it, else 500."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, MISTAKES):
        return ApiError(400, str(error))
    if isinstance(error, Gpt2Error):
        return ApiError(500, str(error))
    return ApiError(500, "the server failed; the request may be tried again")


def type_and_place(error: BaseException) -> str:
    """Return what the log may have of an exception: its message may hold parts of a request.

    >>> try:
    ...     int("a secret")
    ... except ValueError as error:
    ...     type_and_place(error).split(" ")[0]
    'ValueError'
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    [*_, frame] = extract_tb(error.__traceback__)
    return f"{type(error).__name__} at {PurePath(frame.filename).name}:{frame.lineno}"


def as_api_error(errors: Sequence[Any]) -> ApiError:
    """Return the first of the errors that pydantic finds in a request."""
    first = errors[0]
    place, kind = list(first["loc"]), first["type"]
    if kind == "json_invalid":
        reason = str(first["ctx"]["error"]).removesuffix(" at")  # of some, it leads to the place
        return ApiError(400, f"the body must be JSON: {reason} at {place[-1]}")
    if place == ["body"]:
        return ApiError(400, "the body must be a JSON object with the fields of the request")
    path = _path(place[1:])
    param = str(place[1])[:MOST_SHOWN]
    if kind == "missing":
        return ApiError(400, f"{path} is missing", param=param)
    wanted = first["msg"].removeprefix("Value error, ").replace("Input should", "it should", 1)
    return ApiError(400, f"{path}: {wanted}, got {shown(first['input'])}", param=param)


def shown(value: object) -> str:
    """Return a wrong value for a message, cut where it is long or deep.

    >>> shown({"a": [1.5] * 1000})
    "{'a': [1.5, 1.5, 1.5, 1.5, 1.5, 1.5, ...]}"
    """
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a number of more than 30 digits"  # in Python long ones cannot even be shown
    text = _repr.repr(value)
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "..."


_repr = Repr()
_repr.maxstring = _repr.maxother = MOST_SHOWN


def _path(place: Sequence[str | int]) -> str:
    """Return where a value is, such as stop[2]; a name of the client's may have any characters."""
    path = "".join(map(_step, place)).removeprefix(".")
    return path if len(path) <= MOST_SHOWN else path[:MOST_SHOWN] + "..."


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return "." + (step if step.isprintable() else repr(step)[1:-1])


def _of_http(request: Request, error: HTTPException) -> ApiError:
    path = shown(request.url.path)
    if error.status_code == 404:
        return ApiError(404, f"there is nothing at {path}", code="not_found")
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "other methods")
        return ApiError(405, f"{path} takes {allowed}, got {request.method[:MOST_SHOWN]}")
    if error.status_code == 400:  # by FastAPI, which gives no reason
        return ApiError(
            400,
            "the body must be JSON in UTF-8, nested some hundred times at the most, with numbers "
            "of some thousand digits at the most",
        )
    return ApiError(error.status_code, str(error.detail))


def _kind(status: int) -> str:
    if status >= 500:
        return "server_error"
    return "rate_limit_error" if status == 429 else "invalid_request_error"
