"""What is in the HTML of a page? A template of `web/`, the modules that it needs, and data.

A page is a module of `web/` that exports `showPage`. Modules import each other by the names of an
import map, "gpt2/NAME"; so the same files serve a page that is one file and one of a server.
"""

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

WEB = files("gpt2") / "web"
FIRST_STYLE = "style.css"  # the others build on it
IMPORT = re.compile(r'from "gpt2/([\w/]+\.js)"')


def modules_of(page: str) -> list[str]:
    """Return the modules that a page needs, itself among them, by their paths in web/."""
    needed, waiting = set(), [page]
    while waiting:
        module = waiting.pop()
        if module not in needed:
            needed.add(module)
            waiting += IMPORT.findall(read(module))
    return sorted(needed)


def styles_of(modules: Sequence[str]) -> list[str]:
    """Return the styles of some modules: those that lie in their folders of web/."""
    folders = sorted({module.rpartition("/")[0] for module in modules} | {""})
    found = [
        f"{folder}/{file.name}".lstrip("/")
        for folder in folders
        for file in _folder(folder).iterdir()
        if file.name.endswith(".css")
    ]
    return sorted(found, key=lambda style: (style != FIRST_STYLE, style))


def read(path: str) -> str:
    """Return the text of a file of web/."""
    return WEB.joinpath(*path.split("/")).read_text(encoding="utf-8")


def start_script(page: str) -> str:
    """Return the script that shows a page."""
    return f'import {{ showPage }} from "gpt2/{page}"; showPage();'


def import_map(addresses: Mapping[str, str]) -> str:
    """Return an import map, from the address of each module."""
    return json.dumps({"imports": {f"gpt2/{name}": url for name, url in addresses.items()}})


def filled(
    page: str, *, title: str, data: Mapping[str, Any], policy: str, styles: str, modules: str
) -> str:
    """Return the HTML of a page.

    Args:
        page: Its module.
        title: Of the document.
        data: Strict JSON by the id that the page's modules read it by.
        policy: HTML of its content security policy, if it is not sent otherwise.
        styles: HTML of its styles.
        modules: Its import map.
    """
    inside = {
        "policy": policy,
        "title": escape(title),
        "styles": styles,
        "importmap": modules,
        "start": start_script(page),
        "data": "\n".join(_data_script(name, value) for name, value in data.items()),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: inside[match[1]], read("page.html"))


def _folder(name: str) -> Traversable:
    return WEB / name if name else WEB


def _data_script(name: str, value: Any) -> str:
    """Return JSON in an element that is never run; no text in it can end the element."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'
