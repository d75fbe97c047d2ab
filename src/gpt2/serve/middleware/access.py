"""Who may ask the server? By name of the host, origin of the page, and key."""

import hmac
import re
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gpt2.config import ServeConfig
from gpt2.serve.errors import ApiError
from gpt2.serve.paths import HEALTH, RUN, WEB

PAGES = ("/", RUN)
# A browser asks for pages without the key: they have the names of models and runs, and no texts.
FREE = (*PAGES, HEALTH)
OTHER_SITES = ("cross-site", "same-site")  # same-site is another port of this machine, too
LOOPBACK_NAME = re.compile(r"localhost|.+\.localhost|127\.\d+\.\d+\.\d+|::1")
SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
PREFLIGHT_SECONDS = "600"  # that a browser may remember what it is allowed


class Access:
    """Passes on requests that are allowed, and adds the headers by which browsers protect them.

    Source: the Fetch standard, "HTTP extensions", for the headers Access-Control-*; Fetch Metadata
    Request Headers (W3C) for Sec-Fetch-*.
    """

    def __init__(self, app: ASGIApp, config: ServeConfig) -> None:
        self._app = app
        self._key = None if config.api_key is None else config.api_key.encode()
        self._origins = config.allow_origin
        self._names = {urlsplit(origin).hostname for origin in config.allow_origin}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        headers = Headers(scope=scope)
        extra = SECURITY | self._sharing(headers.get("Origin"))

        async def send_more(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(extra)
            await send(message)

        app = self._app
        if is_preflight := _is_preflight(scope, headers):
            app = _preflight_answer(headers)
        try:
            self._check_host(headers.get("Host"))
            self._check_origin(scope["path"], headers)
            if not is_preflight:
                self._check_key(scope["path"], headers)
        except ApiError as error:
            app = error.response(_challenge(error))
        await app(scope, receive, send_more)

    def _check_host(self, host: str | None) -> None:
        """Refuse names that another site may have made to lead here: DNS rebinding.

        With a key that is of no use to it.
        """
        if self._key is not None or host is None:
            return
        parts = _split(f"//{host}")
        name = parts and parts.hostname
        if name is None or not (LOOPBACK_NAME.fullmatch(name) or name in self._names):
            raise ApiError(
                403,
                f"the header Host must be a name of this machine such as localhost, got "
                f"{host!r:.80}; start the server with --allow-origin or --api-key to use it by "
                "another name",
                code="host_not_allowed",
            )

    def _check_origin(self, path: str, headers: Headers) -> None:
        """Refuse pages of other sites, except those of listed origins."""
        origin = headers.get("Origin")
        if origin in self._origins:
            return
        if origin is None:
            is_refused = _is_embedded(path, headers)
        else:
            parts = _split(origin)
            is_refused = parts is None or parts.netloc != headers.get("Host")
        if is_refused:
            site = "other sites" if origin is None else f"{origin!r:.80}"
            raise ApiError(
                403,
                f"pages of {site} may not use this server; start it with --allow-origin and their "
                "origin to let them",
                code="origin_not_allowed",
            )

    def _check_key(self, path: str, headers: Headers) -> None:
        if self._key is None or path in FREE or path.startswith(f"{WEB}/"):
            return
        kind, _, given = headers.get("Authorization", "").partition(" ")
        is_right = hmac.compare_digest(given.strip().encode(), self._key)
        if kind.lower() != "bearer" or not is_right:
            got = "another" if given else "none"
            raise ApiError(
                401,
                f'this server wants its key as "Authorization: Bearer KEY", got {got}',
                code="invalid_api_key",
            )

    def _sharing(self, origin: str | None) -> dict[str, str]:
        """Return the headers that let a page of a listed origin read the answer."""
        if not self._origins:
            return {}
        if origin not in self._origins:
            return {"Vary": "Origin"}
        return {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Expose-Headers": "Retry-After",
            "Vary": "Origin",
        }


def _is_preflight(scope: Scope, headers: Headers) -> bool:
    asks = "Access-Control-Request-Method" in headers
    return scope["method"] == "OPTIONS" and "Origin" in headers and asks


def _is_embedded(path: str, headers: Headers) -> bool:
    """Whether a page of another site asks without an Origin, as by <img>; links to pages may."""
    leads_to_page = headers.get("Sec-Fetch-Mode") == "navigate" and path in PAGES
    return headers.get("Sec-Fetch-Site") in OTHER_SITES and not leads_to_page


def _preflight_answer(headers: Headers) -> Response:
    """Allow what is asked for: the key is in a header, so nothing is sent unasked."""
    allowed = {
        "Access-Control-Allow-Methods": "GET, POST",
        "Access-Control-Max-Age": PREFLIGHT_SECONDS,
    }
    if asked := headers.get("Access-Control-Request-Headers"):
        allowed["Access-Control-Allow-Headers"] = asked
    return Response(status_code=204, headers=allowed)


def _challenge(error: ApiError) -> Mapping[str, str]:
    return {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}


def _split(url: str) -> SplitResult | None:
    """Return the parts of a URL; None if it is malformed, as http://[::1 is."""
    try:
        return urlsplit(url)
    except ValueError:
        return None
