"""How to serve models over HTTP."""

import math
import re
from dataclasses import dataclass

from gpt2.config.checks import check
from gpt2.config.toml import check_types
from gpt2.errors import ConfigError

LOOPBACK = ("127.0.0.1", "::1", "localhost")  # hosts that only this machine reaches
ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]+)?|https?://\[[0-9a-f:]+\](:[0-9]+)?")
KEY = re.compile(r"[!-~]+")  # what a header can carry as it is


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """How to serve models over HTTP."""

    host: str = "127.0.0.1"
    """Address to listen on. Any but this machine's own (127.0.0.1, ::1) needs an API key."""
    port: int = 8000
    """TCP port; 0 for any that is free."""
    api_key: str | None = None
    """Key that requests must carry as "Authorization: Bearer KEY". GPT2_API_KEY in the environment
    does the same, and the list of processes does not show it."""
    allow_origin: tuple[str, ...] = ()
    """Origins, such as https://example.org, whose pages may use this server: those of other sites,
    and the server's own where a proxy gives it another name. Spaces between several."""
    batch: int = 64
    """Texts of a model that are written at the same time; others wait."""
    queue: int = 1024
    """Texts of a model that may wait; further requests get status 429."""
    cache_gb: float | None = None
    """Gigabytes for the KV caches of all models together; if not given, what their batches need, up
    to a quarter of the memory of the machine or GPU."""
    time_limit: float = 600.0
    """Seconds that a request may take; then its texts end."""
    body_mb: float = 4.0
    """Megabytes that the body of a request may have; larger ones get status 413."""
    grace: float = 30.0
    """Seconds that texts may go on after SIGTERM or Ctrl-C; then they end."""

    def __post_init__(self) -> None:
        check_types(self)
        check(0 <= self.port < 65536, "port must be 0 to 65535", self.port)
        if self.api_key is not None and not KEY.fullmatch(self.api_key):
            raise ConfigError(
                "api_key must be one or more ASCII letters, digits or signs, without spaces"
            )
        for origin in self.allow_origin:
            wanted = "allow_origin must be origins such as https://example.org, without a path"
            check(ORIGIN.fullmatch(origin) is not None, wanted, origin)
        check(self.batch >= 1, "batch must be at least 1", self.batch)
        check(self.queue >= 0, "queue must be at least 0", self.queue)
        for name in ("time_limit", "body_mb"):
            value = getattr(self, name)
            check(0 < value < math.inf, f"{name} must be above 0", value)
        gigabytes = self.cache_gb
        check(gigabytes is None or 0 < gigabytes < math.inf, "cache_gb must be above 0", gigabytes)
        check(0 <= self.grace < math.inf, "grace must be at least 0", self.grace)

    def require_protection(self) -> None:
        """Check that only this machine reaches the server, or that it has a key.

        Raises:
            ConfigError: Anyone who reaches the port could use it.
        """
        check(
            self.api_key is not None or self.host in LOOPBACK,
            "host must be 127.0.0.1 unless there is an API key: anyone who reaches the port could "
            "use the server; give --api-key, too, or set GPT2_API_KEY",
            self.host,
        )
