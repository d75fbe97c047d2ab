"""The line on the terminal, by functions that take Numba milliseconds to compile."""

import sys
from collections.abc import Callable, Iterator

import pytest
from numba import njit
from numba.core import event

from llm_tokenizer.compile_notice import LINE, announce_compiling


@pytest.fixture(autouse=True)
def announced() -> Iterator[None]:
    """Announce as in a new process, and no longer after the test."""
    before = list(event._registered["numba:compile"])
    event._registered["numba:compile"].clear()
    announce_compiling.cache_clear()
    announce_compiling()
    yield
    event._registered["numba:compile"][:] = before


def compiled(module: str) -> Callable[[int], int]:
    def next_number(number: int) -> int:
        return number + 1

    next_number.__module__ = module
    function: Callable[[int], int] = njit(next_number)
    return function


def test_compiling_is_announced_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    announce_compiling()  # a second time changes nothing
    for _ in range(2):
        assert compiled("llm_tokenizer.compiled")(1) == 2
    assert capsys.readouterr().err == LINE + "\n"


def test_what_others_compile_is_not_announced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert compiled("llm_tokenizers")(1) == 2
    assert capsys.readouterr().err == ""


def test_nothing_is_printed_where_no_terminal_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compiled("llm_tokenizer.compiled")(1) == 2
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys, "stderr", None)  # closed
    assert compiled("llm_tokenizer.compiled")(1) == 2
