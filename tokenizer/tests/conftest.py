"""Tokenizers that several tests use; a test that takes `gpt2` runs on both of its paths."""

from pathlib import Path

import pytest
import tiktoken
from hypothesis import HealthCheck, settings
from tokenizers import ByteLevelBPETokenizer

from llm_tokenizer import Tokenizer

collect_ignore = ["checked_calls.py", "fuzz_memory.py"]  # programs, which import one another

# No test depends on how fast the machine is, and each run tries the same examples.
settings.register_profile(
    "suite", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")

# tiktoken's own pattern for GPT-2, so that no vocabulary has to be downloaded.
TIKTOKEN_PATTERN = (
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
)


def on_reference_path(tokenizer: Tokenizer) -> Tokenizer:
    """Return a tokenizer of the same vocabulary that never switches to the compiled path."""
    tokenizer = Tokenizer(tokenizer.vocabulary)
    tokenizer._paths.codec_for = lambda characters: None  # type: ignore[method-assign]
    return tokenizer


def on_compiled_path(tokenizer: Tokenizer) -> Tokenizer:
    """Return a tokenizer of the same vocabulary that has switched to the compiled path."""
    tokenizer = Tokenizer(tokenizer.vocabulary)
    tokenizer.encode_to_array(" " * 2**20)
    assert tokenizer._paths.codec is not None
    return tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    """A vocabulary of 300 tokens, <|endoftext|> being 299."""
    text = (Path(__file__).parents[1] / "LICENSE").read_text(encoding="utf-8")
    return Tokenizer.train([text], 300)


@pytest.fixture(scope="session")
def released() -> Tokenizer:
    return Tokenizer.gpt2()


@pytest.fixture(scope="session", params=[on_reference_path, on_compiled_path])
def gpt2(released: Tokenizer, request: pytest.FixtureRequest) -> Tokenizer:
    tokenizer: Tokenizer = request.param(released)
    return tokenizer


@pytest.fixture(scope="session")
def tiktoken_gpt2(released: Tokenizer) -> tiktoken.Encoding:
    return tiktoken.Encoding(
        "gpt2",
        pat_str=TIKTOKEN_PATTERN,
        mergeable_ranks=dict(released.vocabulary.token_ids),
        special_tokens=dict(released.vocabulary.special_tokens),
    )


@pytest.fixture(scope="session")
def hugging_face(
    released: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> ByteLevelBPETokenizer:
    directory = tmp_path_factory.mktemp("gpt2")
    released.save(directory)
    return ByteLevelBPETokenizer(str(directory / "vocab.json"), str(directory / "merges.txt"))
