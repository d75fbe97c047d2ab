"""How does a page become one HTML file that needs no network? Everything goes inside it."""

import base64
import json
from collections.abc import Iterator, Mapping
from html import escape
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

FIRST_STYLE = "style.css"  # the others build on it


def page_html(title: str, data: Mapping[str, Any]) -> str:
    """Return the page as one HTML document, with its style, modules and data inside it.

    Args:
        title: Of the document.
        data: Strict JSON by the id that the page's modules read it by: "page", "text-0" and so on.
    """
    styles = sorted(_web(".css"), key=lambda file: (file.name != FIRST_STYLE, file.name))
    modules = {
        f"gpt2/{file.name}": data_url("text/javascript", file.read_bytes()) for file in _web(".js")
    }
    inside = {
        "title": escape(title),
        "style": "\n".join(file.read_text(encoding="utf-8") for file in styles),
        "importmap": json.dumps({"imports": dict(sorted(modules.items()))}),
        "data": "\n".join(_data_script(name, value) for name, value in data.items()),
    }
    html = (files("gpt2") / "web" / "gallery.html").read_text(encoding="utf-8")
    for name, text in inside.items():  # data is last: what it holds is not looked through
        html = html.replace("{{" + name + "}}", text, 1)
    return html


def data_url(kind: str, content: bytes) -> str:
    """Return a file as a URL that holds it; `kind` is its MIME type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _web(ending: str) -> Iterator[Traversable]:
    return (file for file in (files("gpt2") / "web").iterdir() if file.name.endswith(ending))


def _data_script(name: str, value: Any) -> str:
    """Return JSON in an element that is never run; no text in it can end the element."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'
