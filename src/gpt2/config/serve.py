"""How to serve models over HTTP."""

import math
from dataclasses import dataclass

from gpt2.config.checks import check
from gpt2.config.toml import check_types

LOOPBACK = ("127.0.0.1", "::1", "localhost")  # hosts that only this machine reaches


@dataclass(frozen=True, kw_only=True)
class ServeConfig:
    """How to serve models over HTTP."""

    host: str = "127.0.0.1"
    """Address to listen on. Any but this machine's own needs an API key."""
    port: int = 8000
    """TCP port; 0 for any that is free."""
    api_key: str | None = None
    """Key that every request must carry as "Authorization: Bearer KEY"; GPT2_API_KEY in the
    environment does the same, and is not seen in the list of processes."""
    allow_origin: tuple[str, ...] = ()
    """Origins, such as https://example.org, whose pages may ask this server; none if not given."""
    batch: int = 64
    """Texts of a model that are written at the same time; others wait."""
    queue: int = 1024
    """Texts of a model that wait at the most; beyond that requests get 429."""
    cache_gb: float | None = None
    """Gigabytes for the KV cache of a model; a quarter of the machine's memory at the most if not
    given."""
    time_limit: float = 600.0
    """Seconds that a request may take; then its texts end."""
    body_mb: float = 4.0
    """Megabytes that the body of a request may have; beyond that it gets 413."""
    grace: float = 30.0
    """Seconds that texts may go on after SIGTERM or Ctrl-C; then they end."""

    def __post_init__(self) -> None:
        check_types(self)
        check(0 <= self.port < 65536, "port must be 0 to 65535", self.port)
        check(self.api_key != "", "api_key must not be empty", self.api_key)
        check(self.batch >= 1, "batch must be at least 1", self.batch)
        check(self.queue >= 0, "queue must be at least 0", self.queue)
        for name in ("time_limit", "body_mb"):
            value = getattr(self, name)
            check(0 < value < math.inf, f"{name} must be above 0", value)
        check(self.cache_gb is None or self.cache_gb > 0, "cache_gb must be above 0", self.cache_gb)
        check(0 <= self.grace < math.inf, "grace must be at least 0", self.grace)
        check(
            self.api_key is not None or self.host in LOOPBACK,
            "host must be 127.0.0.1 unless there is an API key: anyone who reaches the port could "
            "use the server; give --api-key, too",
            self.host,
        )
