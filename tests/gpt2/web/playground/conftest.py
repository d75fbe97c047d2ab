"""The playground on a page of its own, with a server that says what a test wants it to say."""

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.staticfiles import StaticFiles

from gpt2.visual import style
from gpt2.visual.page_html import WEB, import_map, modules_of, styles_of
from llm_tokenizer.showing import readable

if TYPE_CHECKING:
    from playwright.sync_api import Page

MOST_SECONDS = 30  # to start or to end
PLAYGROUND = "playground/playground.js"
SHOW = """
    import { ask } from "gpt2/ask.js";
    import { showPlayground } from "gpt2/playground/playground.js";
    const { models, colors } = JSON.parse(document.getElementById("page").textContent);
    const address = (name) => `/explore/vocabulary?model=${encodeURIComponent(name)}`;
    const vocabularyOf = async (name) => (await ask(address(name))).vocabulary;
    showPlayground(document.getElementById("playground"), { models, colors, vocabularyOf });
"""
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Playground</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">%(styles)s<script type="importmap">%(modules)s</script></head>
<body><main><h1>Test</h1><section id="playground" aria-labelledby="name">
<h2 id="name">Playground</h2></section></main>
<script type="application/json" id="page">%(data)s</script>
<script type="module">%(show)s</script></body></html>"""


@dataclass
class Fake:
    """A server that speaks the contract of completions, and writes what it is asked to.

    Its tokens are the 256 bytes, and then `words`. Of a prompt each byte is a token.
    """

    url: str = ""
    words: list[str] = field(default_factory=lambda: [" one", " two", " three", " four"])
    models: dict[str, int] = field(default_factory=lambda: {"fake": 1024})  # and their contexts
    writes: list[list[int]] = field(default_factory=lambda: [[256, 257, 258]])  # by sample
    reason: str = "length"
    hidden: int = 0  # characters at the end of a text that its stop string hides
    error: tuple[int, str] | None = None  # that requests for completions get
    breaks_after: int | None = None  # tokens after which a stream ends without a reason
    fails_after: int | None = None  # tokens after which a stream has an error
    waits_after: int | None = None  # tokens after which a stream waits until it is closed
    requests: list[dict[str, Any]] = field(default_factory=list)
    closed: int = 0  # streams that the page closed

    def token(self, i: int) -> bytes:
        """Return the bytes of a token."""
        return bytes([i]) if i < 256 else self.words[i - 256].encode()

    def text(self, ids: list[int]) -> str:
        """Return the text of some tokens."""
        return b"".join(map(self.token, ids)).decode(errors="replace")

    def likeliest(self, i: int) -> dict[str, float]:
        """Return what is said to be likely where token `i` was drawn: it, and the one after it."""
        return {f"token_id:{i}": -0.5, f"token_id:{max(256, i) + 1}": -1.5, "token_id:10": -9.0}

    async def events(self, ids: list[int]) -> AsyncIterator[str]:
        """Yield the events of a stream, a token of each text in turn."""
        for number in range(max(map(len, self.writes)) + 1):
            for index, written in enumerate(self.writes):
                if number in (self.breaks_after, self.waits_after, self.fails_after):
                    if self.fails_after is not None:
                        yield event({"error": {"message": "The engine failed."}})
                    if self.waits_after is not None:
                        await asyncio.Event().wait()
                    return
                if number <= len(written):
                    yield event({"choices": [self.choice(index, written, number, ids)]})
        yield "data: [DONE]\n\n"

    def choice(self, index: int, written: list[int], number: int, ids: list[int]) -> dict[str, Any]:
        """Return token `number` of a text; after the last, its end."""
        text = self.shown(written)
        if number == len(written):
            shown = text[len(stable(self.text(written[:number]))) :]
            return {"index": index, "text": shown, "finish_reason": self.reason, "logprobs": None}
        before = stable(self.text(written[:number]))
        after = stable(self.text(written[: number + 1]))
        start = len(ids) + 1000  # where offsets begin is nobody's business
        return {
            "index": index,
            "text": text[len(before) : len(after)],
            "finish_reason": None,
            "token_ids": [written[number]],
            "prompt_token_ids": (ids or [0]) if number == 0 else None,
            "logprobs": {
                "tokens": [f"token_id:{written[number]}"],
                "token_logprobs": [-0.5],
                "top_logprobs": [self.likeliest(written[number])],
                "text_offset": [start + len(before)],
            },
        }

    def shown(self, written: list[int]) -> str:
        """Return a text as it ends."""
        text = self.text(written)
        return text[: len(text) - self.hidden]


def stable(text: str) -> str:
    """Return a text without the character at its end of which bytes may be missing."""
    return text.rstrip("\ufffd")


def event(value: object) -> str:
    """Return a server-sent event."""
    return f"data: {json.dumps(value)}\n\n"


def app_of(fake: Fake) -> FastAPI:
    """Return the application of a fake."""
    app = FastAPI()
    app.mount("/web", StaticFiles(directory=Path(str(WEB))))
    app.get("/")(lambda: page_of(fake))

    @app.get("/explore/vocabulary")
    def vocabulary(model: str) -> dict[str, list[str | None]]:
        known = [readable(fake.token(i)) for i in range(256 + len(fake.words))]
        return {"vocabulary": [*known, None]}

    @app.post("/tokenize")
    async def tokenize(request: Request) -> dict[str, Any]:
        body = await request.json()
        ids = list(body["prompt"].encode("utf-8", "surrogatepass"))
        return {"count": len(ids), "max_model_len": fake.models[body["model"]], "tokens": ids}

    @app.post("/detokenize")
    async def detokenize(request: Request) -> dict[str, str]:
        return {"prompt": fake.text((await request.json())["tokens"])}

    @app.post("/v1/completions")
    async def complete(request: Request) -> Response:
        body = await request.json()
        fake.requests.append(body)
        if fake.error:
            status, message = fake.error
            return JSONResponse({"error": {"message": message}}, status_code=status)
        return StreamingResponse(noted(fake, body["prompt"] or []), media_type="text/event-stream")

    return app


async def noted(fake: Fake, ids: list[int]) -> AsyncIterator[str]:
    """Yield the events of a stream; note if the page closes it before its end."""
    try:
        async for each in fake.events(ids):
            yield each
    except asyncio.CancelledError:
        fake.closed += 1
        raise


def page_of(fake: Fake) -> HTMLResponse:
    """Return the page, under the policy of a real server."""
    names = [*modules_of(PLAYGROUND)]
    colors = {"series": style.SERIES, "surprisal": style.colors_of(style.SURPRISAL)}
    models = [{"name": name, "most_tokens": most} for name, most in fake.models.items()]
    modules = import_map({name: f"/web/{name}" for name in names})
    styles = "".join(f'<link rel="stylesheet" href="/web/{name}">' for name in styles_of(names))
    data = json.dumps({"models": models, "colors": colors})
    html = PAGE % {"styles": styles, "modules": modules, "data": data, "show": SHOW}
    hashes = [b64encode(sha256(script.encode()).digest()).decode() for script in (modules, SHOW)]
    scripts = " ".join(f"'sha256-{each}'" for each in hashes)
    policy = f"default-src 'none'; script-src 'self' {scripts}; style-src 'self'; "
    policy += "connect-src 'self'; img-src data:"
    return HTMLResponse(html, headers={"Content-Security-Policy": policy})


async def serve(fake: Fake, started: "Future[uvicorn.Server]") -> None:
    """Serve a fake on a free port."""
    settings = uvicorn.Config(
        app_of(fake), port=0, log_level="critical", ws="none", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(settings)
    task = asyncio.ensure_future(server.serve())
    while not server.started and not task.done():
        await asyncio.sleep(0.001)
    fake.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    started.set_result(server)
    await task


@pytest.fixture
def fake() -> Iterator[Fake]:
    """A fake that runs."""
    fake = Fake()
    started: Future[uvicorn.Server] = Future()
    thread = Thread(target=lambda: asyncio.run(serve(fake, started)), daemon=True)
    thread.start()
    server = started.result(MOST_SECONDS)
    yield fake
    server.should_exit = True
    thread.join(MOST_SECONDS)
    assert not thread.is_alive()


@pytest.fixture
def playground(fake: Fake, served_page: "Callable[..., Page]") -> "Callable[..., Page]":
    """Open the playground of the fake; statuses that are `expected` are no errors."""

    def open_page(expected: tuple[int, ...] = ()) -> "Page":
        return served_page(fake.url, expected=expected)

    return open_page
