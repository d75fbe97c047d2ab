"""Requests made from the OpenAPI document, right and wrong ones: the answers keep to it."""

from typing import Any

import pytest
import schemathesis
import torch
from hypothesis import given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

# The document cannot say what a model takes: its ids, and how long a prompt may be.
EXCLUDED = [positive_data_acceptance]
RIGHT, WRONG = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
OPERATIONS = [
    ("POST", "/v1/completions", RIGHT),
    ("POST", "/v1/completions", WRONG),
    ("POST", "/tokenize", RIGHT),
    ("POST", "/tokenize", WRONG),
    ("POST", "/detokenize", RIGHT),
    ("POST", "/detokenize", WRONG),
    ("GET", "/tokenizer_info", RIGHT),
    ("GET", "/tokenizer_info", WRONG),
    ("GET", "/v1/models", RIGHT),
    ("GET", "/v1/models/{name}", RIGHT),
]


@pytest.fixture(scope="module", autouse=True)
def all_numbers() -> None:
    """Undo what training sets in a process: Hypothesis makes numbers that it rounds to zero."""
    torch.set_flush_denormal(False)


@pytest.fixture(scope="module")
def document(served: Any) -> Any:
    """The server's OpenAPI document."""
    return schemathesis.openapi.from_url(f"{served.url}/openapi.json")


@pytest.mark.parametrize(("method", "path", "mode"), OPERATIONS)
def test_no_request_is_answered_by_a_failure_or_beyond_the_document(
    document: Any, method: str, path: str, mode: GenerationMode
) -> None:
    operation = document[path][method]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(max_examples=40)
    def check(case: schemathesis.Case) -> None:
        case.call_and_validate(excluded_checks=EXCLUDED, timeout=60)

    check()
