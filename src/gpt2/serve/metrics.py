"""How is the server doing? Counts and times of its requests and texts, as Prometheus reads them."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

if TYPE_CHECKING:  # they need torch, which gpt2 watch does not
    from gpt2.serve.models import ServedModel
    from gpt2.serve.worker import Writing

FIRST_TOKEN = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)  # seconds
EACH_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0)


class Metrics:
    """The metrics of one server; not in the global registry, which several servers would share."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "gpt2_requests", "Requests answered.", ["route", "status"], registry=registry
        )
        self._prompt_tokens = Counter(
            "gpt2_prompt_tokens",
            "Tokens of the prompts of ended texts.",
            ["model"],
            registry=registry,
        )
        self._completion_tokens = Counter(
            "gpt2_completion_tokens", "Tokens written in ended texts.", ["model"], registry=registry
        )
        self._first_token = Histogram(
            "gpt2_time_to_first_token_seconds",
            "From a text's request to its first token.",
            ["model"],
            buckets=FIRST_TOKEN,
            registry=registry,
        )
        self._each_token = Histogram(
            "gpt2_time_per_output_token_seconds",
            "Mean time between the tokens of a text.",
            ["model"],
            buckets=EACH_TOKEN,
            registry=registry,
        )

    def watch(self, models: "Iterable[ServedModel]") -> None:
        """Let the metrics have what the engines of some models have to do."""
        self._registry.register(_Loads(models))

    def count_request(self, route: str, status: int) -> None:
        """Count an answer."""
        self._requests.labels(route, status).inc()

    def count_text(self, model: str, writing: "Writing") -> None:
        """Count a text that has ended."""
        self._prompt_tokens.labels(model).inc(len(writing.text.prompt_ids))
        self._completion_tokens.labels(model).inc(writing.tokens)
        if writing.first_token is None or writing.last_token is None:
            return
        self._first_token.labels(model).observe(writing.first_token - writing.submitted)
        if writing.tokens > 1:
            seconds = writing.last_token - writing.first_token
            self._each_token.labels(model).observe(seconds / (writing.tokens - 1))

    def answer(self) -> Response:
        """Return all of them, as text.

        Source: "Exposition formats" of the Prometheus documentation.
        """
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)


class _Loads:
    """Asks the engines at the time of each answer."""

    def __init__(self, models: "Iterable[ServedModel]") -> None:
        self._models = list(models)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield what is to be measured now."""
        gauges = [
            GaugeMetricFamily(f"gpt2_{name}", what, labels=["model"])
            for name, what in (
                ("texts_running", "Texts that are being written."),
                ("texts_waiting", "Texts that wait for a place in the batch."),
                ("kv_cache_bytes", "Memory that KV caches have taken."),
                ("kv_cache_limit_bytes", "Memory that KV caches may take."),
            )
        ]
        for model in self._models:
            for gauge, value in zip(gauges, model.worker.engine.load, strict=True):
                gauge.add_metric([model.name], value)
        yield from gauges
