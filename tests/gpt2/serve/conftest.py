"""What the tests of the server share."""

import httpx
import pytest


@pytest.fixture(autouse=True)
def patient_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients wait longer than httpx's 5 s: the machine may be busy."""
    for name in ("connect", "read", "write", "pool"):
        monkeypatch.setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, name, 120.0)
