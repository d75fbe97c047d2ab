"""Who may ask the server, tried by real connections."""

import json
import re
from typing import Any

import httpx
import pytest

Served = ServeWith = Any  # of conftest.py

KEY = "a-key"
SITE = "https://example.org"


def get(served: Served, path: str = "/v1/nothing", **headers: str) -> httpx.Response:
    """Ask for what is not there: 404 says that the request was let in."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.get(served.url + path, headers=names)


@pytest.fixture
def with_key(serve_with: ServeWith) -> Served:
    return serve_with(api_key=KEY)


@pytest.mark.parametrize("host", ["localhost", "localhost:9000", "a.localhost", "127.0.0.2"])
def test_names_of_this_machine_are_let_in(served: Served, host: str) -> None:
    assert get(served, Host=host).status_code == 404


def test_the_address_of_version_6_is_a_name_of_this_machine(served: Served) -> None:
    assert get(served, Host="[::1]:8000").status_code == 404


@pytest.mark.parametrize(
    "host", ["example.org", "127.0.0.1.example.org", "localhost.example.org", "x127.0.0.1", "[::1"]
)
def test_a_name_that_another_site_lets_lead_here_is_refused(served: Served, host: str) -> None:
    answer = get(served, Host=host)

    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "host_not_allowed"


def test_with_a_key_any_name_will_do(with_key: Served) -> None:
    assert get(with_key, Host="example.org", Authorization=f"Bearer {KEY}").status_code == 404


def test_the_name_of_an_origin_that_is_allowed_is_the_servers_own(serve_with: ServeWith) -> None:
    served = serve_with(allow_origin=(SITE,))

    assert get(served, Host="example.org", Origin=SITE).status_code == 404
    assert get(served, Host="example.com").status_code == 403


@pytest.mark.parametrize("origin", [SITE, "null", "http://localhost:1", "file://", "http://[::1"])
def test_pages_of_other_sites_are_refused(served: Served, origin: str) -> None:
    answer = get(served, Origin=origin)

    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "origin_not_allowed"
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("mode", ["no-cors", "navigate"])
def test_what_a_page_of_another_site_loads_without_an_origin_is_refused(
    served: Served, site: str, mode: str
) -> None:
    answer = get(served, "/explore/picture", Sec_Fetch_Site=site, Sec_Fetch_Mode=mode)

    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "origin_not_allowed"
    assert "pages of other sites may not" in answer.json()["error"]["message"]


def test_another_site_may_link_to_the_pages_but_not_load_them(served: Served) -> None:
    for path in ("/", "/run"):
        for mode, status in (("navigate", 200), ("no-cors", 403)):
            answer = get(served, path, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode=mode)
            assert answer.status_code == status


@pytest.mark.parametrize("site", ["none", "same-origin"])  # none: the address was typed
def test_what_the_reader_or_the_own_page_asks_is_let_in(served: Served, site: str) -> None:
    assert get(served, Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate").status_code == 404


def test_the_servers_own_page_is_let_in(served: Served) -> None:
    assert get(served, Origin=served.url).status_code == 404


def test_a_page_of_a_listed_origin_may_read_answers(serve_with: ServeWith) -> None:
    served = serve_with(allow_origin=(SITE,))

    answer = get(served, Origin=SITE, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="cors")

    assert answer.status_code == 404
    assert answer.headers["access-control-allow-origin"] == SITE
    assert answer.headers["vary"] == "Origin"
    assert get(served, Origin="https://example.com").status_code == 403


def test_a_browser_may_ask_first_what_a_listed_origin_may_send(serve_with: ServeWith) -> None:
    served = serve_with(allow_origin=(SITE,), api_key=KEY)
    asked = {
        "Origin": SITE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type, x-stainless-os",
    }

    answer = httpx.options(f"{served.url}/v1/completions", headers=asked)

    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == SITE
    assert answer.headers["access-control-allow-methods"] == "GET, POST"
    assert answer.headers["access-control-allow-headers"] == asked["Access-Control-Request-Headers"]
    other = asked | {"Origin": "https://example.com"}
    assert httpx.options(f"{served.url}/v1/completions", headers=other).status_code == 403


@pytest.mark.parametrize(
    "given", [None, "Bearer", "Bearer a-keys", "Bearer a-ke", f"Basic {KEY}", KEY]
)
def test_what_is_not_the_key_is_refused(with_key: Served, given: str | None) -> None:
    answer = get(with_key, **({} if given is None else {"Authorization": given}))

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert KEY not in answer.text


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Bearer  "])
def test_the_key_lets_in(with_key: Served, scheme: str) -> None:
    assert get(with_key, Authorization=f"{scheme} {KEY}").status_code == 404


def test_the_page_its_files_and_the_health_need_no_key(with_key: Served) -> None:
    for path in ("/", "/web/dom.js", "/health"):
        assert get(with_key, path).status_code == 200
    for path in ("/metrics", "/openapi.json", "/web", "/healthy", "//", "/v1/models"):
        assert get(with_key, path).status_code == 401


def test_without_the_key_the_page_has_names_and_sizes_alone(with_key: Served) -> None:
    html = get(with_key, "/").text

    page = json.loads(re.findall(r'id="page"[^>]*>(.*?)</script>', html, re.S)[0])
    assert page.keys() == {"models", "colors", "examples", "needsKey", "hasRun"}
    [model] = page["models"]
    sizes = {"n_layer", "n_head", "n_embd", "n_positions", "vocab_size", "most_tokens"}
    assert model.keys() == {"name", "parameters", *sizes}
    [served] = with_key.models
    assert str(served.directory) not in html


def test_every_answer_has_the_headers_that_browsers_heed(served: Served) -> None:
    for path in ("/", "/web/dom.js", "/health", "/nothing"):
        headers = get(served, path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in headers
