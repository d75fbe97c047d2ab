import math
from pathlib import Path

import numpy as np
import pytest
import torch

from gpt2.config import PrepareConfig
from gpt2.data.shard_folder import open_shards
from gpt2.evaluate.baselines import Comparison, compare, text_of, unigram_nats
from gpt2.files.pretrained import GPT2
from gpt2.prepare.pipeline import prepare
from gpt2.prepare.sources import in_memory
from llm_tokenizer import Tokenizer


def test_the_unigram_is_frequency_with_one_added() -> None:
    train, val = np.array([0, 0, 1], np.uint16), np.array([0, 2], np.uint16)
    # Counts 3, 2 and 1 of 6: the two held-out tokens have probabilities 1/2 and 1/6.
    assert unigram_nats(train, val, 3) == pytest.approx((math.log(2) + math.log(6)) / 2)


def test_the_text_comes_back_from_the_tokens_without_document_openers(tokenizer: Tokenizer) -> None:
    eot = tokenizer.eot_token
    tokens = np.array([eot, *tokenizer.encode("né"), eot, *tokenizer.encode("b")], np.uint16)
    assert text_of(tokens, tokenizer) == "néb".encode()


def test_xz_finds_in_the_training_text_what_was_held_out(
    model: GPT2, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    letters = np.random.default_rng(0).integers(97, 123, 3000).astype(np.uint8).tobytes().decode()
    for name, val in (("seen", letters[:1000]), ("new", letters[2000:])):
        source = in_memory("letters", [letters[:2000], val])  # of two the second is held out
        prepare(source, tokenizer, tmp_path / name, PrepareConfig())
    seen, new = (
        compare(model, open_shards(tmp_path / name), dtype=torch.float32)
        for name in ("seen", "new")
    )
    assert seen.xz_bits < 0.2
    assert new.xz_bits > math.log2(26) * 0.95


def test_the_table_has_nats_a_token_and_bits_a_byte() -> None:
    found = Comparison(
        tokens=10,
        bytes=40,
        uniform_bits=8,
        unigram_nats=4 * math.log(2),
        xz_bits=0.75,
        model_nats=2 * math.log(2),
    )
    rows = [
        [cell.strip() for cell in row.split("|")[1:-1]] for row in found.to_markdown().split("\n")
    ]
    assert rows[2:] == [
        ["uniform bytes", "", "8.000"],
        ["unigram, the same tokens", "2.773", "1.000"],
        ["xz -9 after the training text", "", "0.750"],
        ["this GPT-2", "1.386", "0.500"],
    ]
