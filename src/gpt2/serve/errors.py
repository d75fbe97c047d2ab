"""How does a server say that a request failed? In OpenAI's form."""

from typing import Any


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
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": error}
