"""How does a browser get a page, and the files of `web/`? Under a strict content policy."""

from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from gpt2.visual.page_html import (
    WEB,
    filled,
    import_map,
    modules_of,
    start_script,
    styles_of,
)

PATH = "/web"  # where the files of web/ are


def mount_web(app: FastAPI) -> None:
    """Let an app serve the files of web/."""
    app.mount(PATH, StaticFiles(directory=Path(str(WEB))), name="web")


def page_response(page: str, title: str, data: Mapping[str, Any]) -> HTMLResponse:
    """Return a page whose modules and styles the server has.

    Args:
        page: Module of web/ that shows it.
        title: Of the document.
        data: Strict JSON by the id that the page's modules read it by.
    """
    names = modules_of(page)
    modules = import_map({name: f"{PATH}/{name}" for name in names})
    styles = [f'<link rel="stylesheet" href="{PATH}/{name}">' for name in styles_of(names)]
    html = filled(
        page, title=title, data=data, policy="", styles="\n".join(styles), modules=modules
    )
    scripts = " ".join(map(_hash, (modules, start_script(page))))
    policy = (
        f"default-src 'none'; script-src 'self' {scripts}; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return HTMLResponse(html, headers={"Content-Security-Policy": policy})


def _hash(script: str) -> str:
    return f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"
