"""The pictures of a model as one HTML file, which needs no network."""

import base64
import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any


def page_html(title: str, data: Mapping[str, Any]) -> str:
    """Return the page as one HTML document, with its style, modules and data inside it.

    Args:
        title: Of the document.
        data: Strict JSON by the id that the page's modules read it by: "page", "text-0" and so on.
    """
    web = files("gpt2") / "web"
    inside = {
        "title": escape(title),
        "style": "\n".join(path.read_text(encoding="utf-8") for path in _sources(".css")),
        "importmap": json.dumps({"imports": _modules()}),
        "data": "\n".join(_data_script(name, value) for name, value in data.items()),
    }
    html = (web / "gallery.html").read_text(encoding="utf-8")
    for name, text in inside.items():  # data is last: what it holds is not looked through
        html = html.replace("{{" + name + "}}", text, 1)
    return html


def _modules() -> dict[str, str]:
    """Return each module of the page as a data: URL, by the name that others import it by."""
    return {
        f"gpt2/{path.name}": _data_url("text/javascript", path.read_bytes())
        for path in _sources(".js")
    }


def _sources(suffix: str) -> list[Traversable]:
    """Return the page's own files of one kind, in the order of their names."""
    found = (path for path in (files("gpt2") / "web").iterdir() if path.name.endswith(suffix))
    return sorted(found, key=lambda path: path.name)


def _data_url(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _data_script(name: str, value: Any) -> str:
    """Return JSON in an element that is never run; no text in it can end the element."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'
