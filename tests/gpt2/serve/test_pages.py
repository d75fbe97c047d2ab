"""What a browser gets: a page under a strict policy, and the files of web/."""

import re
from base64 import b64encode
from hashlib import sha256
from typing import Any

import httpx
import pytest

from gpt2.visual.page_html import WEB

Served = Any  # of conftest.py


def test_the_page_lets_run_its_own_two_scripts_and_nothing_else(served: Served) -> None:
    answer = httpx.get(served.url)

    policy = answer.headers["content-security-policy"]
    scripts = re.findall(r"<script type=\"(importmap|module)\">(.*?)</script>", answer.text, re.S)
    assert len(scripts) == 2
    for _, script in scripts:
        assert f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


def test_every_module_and_style_that_the_page_names_is_there(served: Served) -> None:
    with httpx.Client(base_url=served.url) as client:
        named = re.findall(r'"(/web/[^"]+)"', client.get("/").text)

        assert len(named) > 3
        assert {client.get(path).status_code for path in named} == {200}


@pytest.mark.parametrize(
    ("file", "kind"), [("dom.js", "text/javascript"), ("style.css", "text/css")]
)
def test_a_file_is_what_lies_in_the_folder(served: Served, file: str, kind: str) -> None:
    answer = httpx.get(f"{served.url}/web/{file}")

    assert answer.content == (WEB / file).read_bytes()
    assert answer.headers["content-type"] == f"{kind}; charset=utf-8"


def test_a_browser_keeps_a_file_until_it_changes(served: Served) -> None:
    url = f"{served.url}/web/dom.js"
    first = httpx.get(url)

    again = httpx.get(url, headers={"If-None-Match": first.headers["etag"]})
    other = httpx.get(url, headers={"If-None-Match": '"other"'})

    assert first.headers["cache-control"] == "no-cache"
    assert (again.status_code, again.content) == (304, b"")
    assert (other.status_code, other.content) == (200, first.content)


@pytest.mark.parametrize(
    "path",
    [
        "nothing.js",
        "page.html",
        "",
        "%2e%2e/errors.py",
        "..%2f__init__.py",
        "a%00.js",
        "/etc/passwd",
    ],
)
def test_nothing_else_is_there(served: Served, path: str) -> None:
    answer = httpx.get(f"{served.url}/web/{path}")

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"
