"""How does a page become one HTML file that needs no network? Everything goes inside it."""

import base64
from collections.abc import Mapping
from typing import Any

from gpt2.visual.page_html import filled, import_map, modules_of, read, styles_of

POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline' data:; base-uri 'none'; form-action 'none'"
)


def one_file(page: str, title: str, data: Mapping[str, Any]) -> str:
    """Return a page as one HTML document, with its style, modules and data inside it.

    Args:
        page: Module of web/ that shows it.
        title: Of the document.
        data: Strict JSON by the id that the page's modules read it by: "page", "text-0" and so on.
    """
    modules = modules_of(page)
    style = "\n".join(read(name) for name in styles_of(modules))
    return filled(
        page,
        title=title,
        data=data,
        policy=f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        styles=f"<style>{style}</style>",
        modules=import_map({name: data_url("text/javascript", read(name)) for name in modules}),
    )


def data_url(kind: str, content: bytes | str) -> str:
    """Return a file as a URL that holds it; `kind` is its MIME type."""
    content = content.encode() if isinstance(content, str) else content
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
