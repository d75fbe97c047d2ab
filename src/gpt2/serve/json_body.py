"""Is the body of a request JSON? A dependency of the routes that read one."""

import re

from fastapi import Request

from gpt2.serve.errors import ApiError, shown

JSON = re.compile(r"application/([\w.-]+\+)?json\s*(;.*)?", re.IGNORECASE)


def require_json(request: Request) -> None:
    """Check that the body of a request is said to be JSON.

    A page of another origin cannot send such a request without asking first.

    Raises:
        ApiError: It is not: 415.
    """
    kind = request.headers.get("content-type", "")
    if not JSON.fullmatch(kind.strip()):
        raise ApiError(415, f"Content-Type must be application/json, got {shown(kind)}")
