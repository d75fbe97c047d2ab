"""Tokenizers that several tests use; building GPT-2's takes a fifth of a second."""

import pytest
import tiktoken
from tokenizers import ByteLevelBPETokenizer

from llm_tokenizer import Tokenizer

# tiktoken's own pattern for GPT-2, so that no vocabulary has to be downloaded.
TIKTOKEN_PATTERN = (
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"
)


@pytest.fixture(scope="session")
def gpt2() -> Tokenizer:
    return Tokenizer.gpt2()


@pytest.fixture(scope="session")
def reference(gpt2: Tokenizer) -> tiktoken.Encoding:
    return tiktoken.Encoding(
        "gpt2",
        pat_str=TIKTOKEN_PATTERN,
        mergeable_ranks=dict(gpt2.vocabulary.token_ids),
        special_tokens=dict(gpt2.vocabulary.special_tokens),
    )


@pytest.fixture(scope="session")
def hugging_face(
    gpt2: Tokenizer, tmp_path_factory: pytest.TempPathFactory
) -> ByteLevelBPETokenizer:
    directory = tmp_path_factory.mktemp("gpt2")
    gpt2.save(directory)
    return ByteLevelBPETokenizer(str(directory / "vocab.json"), str(directory / "merges.txt"))
