"""How does the server run? It listens, loads its models, serves, and stops when it is asked to."""

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from types import FrameType
from typing import TYPE_CHECKING, NamedTuple

import uvicorn
from starlette.types import ASGIApp

from gpt2.config import ServeConfig
from gpt2.errors import Gpt2Error
from gpt2.progress import log
from gpt2.serve.metrics import Metrics
from gpt2.serve.middleware.access import Access
from gpt2.serve.middleware.bodies import Bodies
from gpt2.serve.middleware.gate import Gate
from gpt2.serve.middleware.request_log import RequestLog

if TYPE_CHECKING:
    from gpt2.serve.loading import Opener

LAST_SECONDS = 5.0  # for answers to end whose texts have been ended
KEEP_ALIVE_SECONDS = 75  # a proxy closes idle connections first: nginx does so after 60
BACKLOG = 2048  # connections that the system may keep waiting


class ListenError(Gpt2Error):
    """The server cannot listen at its address."""


class Loaded(NamedTuple):
    """What a server serves."""

    app: ASGIApp
    end_texts: Callable[[], None] = lambda: None  # at the end of the grace
    close: Callable[[], None] = lambda: None  # when all requests have ended


class Server(uvicorn.Server):
    """A server of one application.

    It answers 503 until the application is loaded, and again from the first SIGTERM or Ctrl-C on,
    when requests that are under way may go on for `config.grace` seconds.

    Args:
        config: Where to listen, and who may ask what.
    """

    def __init__(self, config: ServeConfig) -> None:
        self.gate = Gate()
        self.metrics = Metrics()
        self._settings = config
        self._asked_to_stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        outermost = RequestLog(Access(self.gate, config), self.metrics.count_request)
        super().__init__(
            uvicorn.Config(
                outermost,
                http="h11",  # it limits the size of headers
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="critical",  # its errors have tracebacks, which may hold a request's text
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=1,
            )
        )

    async def run_until_stopped(
        self, load: Callable[[], Awaitable[Loaded]], announce: Callable[[str], None]
    ) -> None:
        """Serve until `stop` is called, or a signal does that.

        Args:
            load: Returns what is to be served; the server listens meanwhile.
            announce: Called with the address when the server is ready.
        Raises:
            ListenError: The address cannot be listened on.
        """
        listener = listen(self._settings.host, self._settings.port)
        serving = asyncio.ensure_future(self.serve(sockets=[listener]))
        serving.add_done_callback(lambda _: self._asked_to_stop.set())  # if it ends by itself
        try:
            loaded = await load()
            with closing(loaded):
                self.gate.app = Bodies(loaded.app, int(self._settings.body_mb * 1e6))
                announce(url_of(self._settings.host, listener))
                await self._asked_to_stop.wait()
                await self._stop(loaded)
        finally:
            self.should_exit = True
            await serving

    def stop(self) -> None:
        """Ask it to stop; any thread may."""
        self._loop.call_soon_threadsafe(self._asked_to_stop.set)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop gracefully; a second signal, or one while models are loaded, ends the process."""
        if self.gate.phase != "ready" or self._asked_to_stop.is_set():
            signal.signal(sig, signal.SIG_DFL)
            signal.raise_signal(sig)
        self.stop()

    async def _stop(self, loaded: Loaded) -> None:
        self.gate.is_stopping = True
        self.gate.refuse_unread()
        self.gate.end("GET")  # such as the events of a run, which have no end
        if self.gate.count:
            log(
                f"stopping; requests under way: {self.gate.count}, for at most "
                f"{self._settings.grace:g} s; a second signal ends them at once"
            )
        if not await self.gate.drained(self._settings.grace):
            loaded.end_texts()
            if not await self.gate.drained(LAST_SECONDS):
                self.gate.end()  # as where the client reads no further


async def serve(
    paths: Mapping[str, str],
    opener: "Callable[[str], Opener]",
    config: ServeConfig,
    announce: Callable[[str], None],
) -> None:
    """Serve models until SIGTERM or Ctrl-C.

    Args:
        paths: Of each model, by the name that requests ask for.
        opener: Returns what opens a directory.
        config: Where to listen, who may ask, and how much.
        announce: Called with the address when the server is ready.
    Raises:
        Gpt2Error: A model cannot be opened, or the address cannot be listened on.
    """
    from gpt2.serve.app import make_app  # with torch, which gpt2 watch starts without
    from gpt2.serve.loading import open_models
    from gpt2.serve.models import ServedModels, serve_model

    config.require_protection()
    server = Server(config)

    async def load() -> Loaded:
        opened = await asyncio.to_thread(open_models, paths, opener, config)
        count = server.metrics.count_text
        models = ServedModels(
            [serve_model(name, *one, config, count) for name, one in opened.items()]
        )
        app = make_app(models, server.metrics, config)
        return Loaded(app, models.end_texts, models.stop)

    await server.run_until_stopped(load, announce)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Raises:
        ListenError: That is not possible.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
        # Each token is sent at once. asyncio sees to that only where it opens the listener itself.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except (OSError, UnicodeError) as error:  # UnicodeError: no name of a host is like this
        reason = getattr(error, "strerror", None) or error
        raise ListenError(
            f"cannot listen on {host}, port {port}: {reason}; "
            "give another --host or --port, or end what uses it"
        ) from None


def url_of(host: str, listener: socket.socket) -> str:
    """Return the address of a listener, by the name of the host that the user gave."""
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{listener.getsockname()[1]}"
