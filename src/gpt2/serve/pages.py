"""How does a browser get a page, and the files of `web/`? Under a strict content policy."""

import re
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Header
from fastapi.responses import HTMLResponse, Response

from gpt2.serve.errors import ApiError
from gpt2.serve.paths import WEB
from gpt2.visual.page_html import (
    filled,
    import_map,
    modules_of,
    read,
    start_script,
    styles_of,
)

TYPES = {"js": "text/javascript", "css": "text/css"}  # the system's own table may have others
NAME = re.compile(r"(\w+/)*\w+\.(js|css)", re.ASCII)


def web_router() -> APIRouter:
    """Return the route of the files of web/, which a browser keeps but asks about each time."""
    router = APIRouter(include_in_schema=False)

    @router.get(WEB + "/{name:path}")
    def show_file(name: str, if_none_match: Annotated[str, Header()] = "") -> Response:
        """Return a module or a style."""
        content = _content(name)
        tag = f'"{sha256(content).hexdigest()[:32]}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache"}
        if tag in if_none_match:
            return Response(status_code=304, headers=headers)
        kind = TYPES[name.rpartition(".")[2]]
        return Response(content, media_type=kind, headers=headers)

    return router


def page_response(page: str, title: str, data: Mapping[str, Any]) -> HTMLResponse:
    """Return a page whose modules and styles the server has.

    Args:
        page: Module of web/ that shows it.
        title: Of the document.
        data: Strict JSON by the id that the page's modules read it by.
    """
    names = modules_of(page)
    modules = import_map({name: f"{WEB}/{name}" for name in names})
    styles = [f'<link rel="stylesheet" href="{WEB}/{name}">' for name in styles_of(names)]
    html = filled(
        page, title=title, data=data, policy="", styles="\n".join(styles), modules=modules
    )
    scripts = " ".join(map(_hash, (modules, start_script(page))))
    policy = (
        f"default-src 'none'; script-src 'self' {scripts}; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
    return HTMLResponse(html, headers=headers)


def _content(name: str) -> bytes:
    """Return a file of web/; no other file has such a name."""
    if NAME.fullmatch(name):
        with suppress(FileNotFoundError):
            return read(name).encode()
    raise ApiError(404, f"there is no file {name!r:.80}", code="not_found")


def _hash(script: str) -> str:
    return f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"
