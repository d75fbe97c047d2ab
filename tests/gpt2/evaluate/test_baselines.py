import math
from pathlib import Path

import numpy as np
import pytest

from gpt2.data.prepare import prepare
from gpt2.data.shards import open_shards
from gpt2.evaluate.baselines import measure, text_of, unigram_nats
from llm_tokenizer import Tokenizer


def test_the_unigram_is_frequency_with_one_added() -> None:
    train, val = np.array([0, 0, 1], np.uint16), np.array([0, 2], np.uint16)
    # Counts 3, 2 and 1 of 6: the two held-out tokens have probabilities 1/2 and 1/6.
    assert unigram_nats(train, val, 3) == pytest.approx(math.log(2) + math.log(6))


def test_the_text_comes_back_from_the_tokens_without_document_openers(tokenizer: Tokenizer) -> None:
    eot = tokenizer.eot_token
    tokens = np.array([eot, *tokenizer.encode("né"), eot, *tokenizer.encode("b")], np.uint16)
    assert text_of(tokens, tokenizer) == "néb".encode()


def test_xz_finds_in_the_training_text_what_was_held_out(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    letters = np.random.default_rng(0).integers(97, 123, 3000).astype(np.uint8).tobytes().decode()
    for name, val in (("seen", letters[:1000]), ("new", letters[2000:])):
        prepare([letters[:2000]], [val], tokenizer, tmp_path / name, source="letters")
    seen, new = (measure(open_shards(tmp_path / name)) for name in ("seen", "new"))
    assert seen.xz < 0.2
    assert new.xz > math.log2(26) * 0.95
    assert seen.uniform_bytes == 8
