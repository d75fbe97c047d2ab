"""The metrics, as Prometheus reads them."""

from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

Served = ServeWith = Any  # of conftest.py
Sample = tuple[str, tuple[tuple[str, str], ...]]

TINY = (("model", "tiny"),)


def measured(served: Served) -> dict[Sample, float]:
    """Return the values by name and labels."""
    answer = httpx.get(f"{served.url}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


@pytest.fixture
def alone(serve_with: ServeWith) -> Served:
    return serve_with()


def test_a_request_is_counted_once_by_its_route_and_status(alone: Served) -> None:
    for path in ("/v1/models", "/v1/models", "/one", "/two"):
        httpx.get(alone.url + path)

    values = measured(alone)

    assert values["gpt2_requests_total", (("route", "/v1/models"), ("status", "200"))] == 2
    assert values["gpt2_requests_total", (("route", "other"), ("status", "404"))] == 2


def test_tokens_and_times_are_those_of_the_texts(alone: Served) -> None:
    body = {"prompt": [[5, 6, 7], [8]], "max_tokens": 4, "ignore_eos": True}

    assert httpx.post(f"{alone.url}/v1/completions", json=body, timeout=30).status_code == 200

    values = measured(alone)
    assert values["gpt2_prompt_tokens_total", TINY] == 4
    assert values["gpt2_completion_tokens_total", TINY] == 8
    assert values["gpt2_time_to_first_token_seconds_count", TINY] == 2
    assert values["gpt2_time_to_first_token_seconds_sum", TINY] > 0
    assert values["gpt2_time_per_output_token_seconds_count", TINY] == 2


def test_what_the_engine_has_to_do_now(serve_with: ServeWith, endless_model: Any) -> None:
    served = serve_with(models={"tiny": endless_model}, batch=1)
    body = {"prompt": [5], "n": 3, "max_tokens": 15_000, "stream": True}

    with httpx.stream("POST", f"{served.url}/v1/completions", json=body, timeout=30) as answer:
        events = answer.iter_text()
        next(events)
        values = measured(served)

    assert values["gpt2_texts_running", TINY] == 1
    assert values["gpt2_texts_waiting", TINY] == 2
    taken = values["gpt2_kv_cache_bytes", TINY]
    assert 0 < taken <= values["gpt2_kv_cache_limit_bytes", TINY]
