"""The settings of a server: which are refused."""

from typing import Any

import pytest

from gpt2.config import ServeConfig
from gpt2.errors import ConfigError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"port": 65536}, "port must be 0 to 65535, got 65536"),
        ({"port": -1}, "port must be 0 to 65535, got -1"),
        ({"allow_origin": ("example.org",)}, "https://example.org, without a path, got 'example.o"),
        ({"allow_origin": ("https://example.org/",)}, "without a path, got 'https://example.org/'"),
        ({"allow_origin": ("*",)}, "allow_origin must be origins"),
        ({"batch": 0}, "batch must be at least 1, got 0"),
        ({"queue": -1}, "queue must be at least 0, got -1"),
        ({"cache_gb": 0.0}, "cache_gb must be above 0, got 0.0"),
        ({"time_limit": 0.0}, "time_limit must be above 0, got 0.0"),
        ({"time_limit": float("inf")}, "time_limit must be above 0, got inf"),
        ({"body_mb": -1.0}, "body_mb must be above 0, got -1.0"),
        ({"grace": -1.0}, "grace must be at least 0, got -1.0"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("*", r"\*")):
        ServeConfig(**settings)


@pytest.mark.parametrize("origin", ["https://example.org", "http://localhost:5173", "http://[::1]"])
def test_origins(origin: str) -> None:
    assert ServeConfig(allow_origin=(origin,)).allow_origin == (origin,)


@pytest.mark.parametrize("key", ["", "two words", "schlüssel", "a\n"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError, match="api_key must be one or more ASCII") as caught:
        ServeConfig(api_key=key)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_only_this_machine_reaches_a_server_without_a_key(host: str) -> None:
    ServeConfig(host=host).require_protection()
    ServeConfig(host="0.0.0.0", api_key="key").require_protection()

    with pytest.raises(ConfigError, match=r"give --api-key, too, or set GPT2_API_KEY, got '0\.0"):
        ServeConfig(host="0.0.0.0").require_protection()
