"""The server over real connections."""

from typing import Any

import httpx


def test_a_server_answers(served: Any) -> None:
    body = {"prompt": "Permission", "max_tokens": 3}

    answer = httpx.post(f"{served.url}/v1/completions", json=body)

    assert answer.status_code == 200
    assert answer.json()["model"] == "tiny"


def test_a_server_with_settings_of_its_own(serve_with: Any) -> None:
    served = serve_with(batch=2)

    assert next(iter(served.models)).worker.most == 2 + 1024
