from pathlib import Path

import numpy as np
import pytest

from gpt2.data.prepare import hold_out, prepare
from gpt2.data.shards import open_shards
from gpt2.errors import DataError
from llm_tokenizer import Tokenizer

DOCUMENTS = [f"document {i}, " + "and more " * i for i in range(30)]


def test_the_end_of_text_opens_each_document_and_the_text_comes_back(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    prepare(DOCUMENTS, DOCUMENTS[:2], tokenizer, tmp_path, source="test")
    data = open_shards(tmp_path)
    text = data.tokenizer.decode(np.concatenate(data.train).tolist())
    assert text == "".join("<|endoftext|>" + document for document in DOCUMENTS)
    assert data.val[0].tolist() == data.train[0][: len(data.val[0])].tolist()


def test_shards_hold_whole_documents_up_to_their_limit(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    manifest = prepare(DOCUMENTS, [], tokenizer, tmp_path, source="test", shard_tokens=200)
    rows = manifest.of("train")
    assert len(rows) > 3
    assert sum(row.documents for row in rows) == len(DOCUMENTS)
    assert sum(row.bytes for row in rows) == sum(map(len, DOCUMENTS))
    data = open_shards(tmp_path)
    for row, shard in zip(rows, data.train, strict=True):
        assert len(shard) == row.tokens <= 200
        assert shard[0] == tokenizer.eot_token
    text = data.tokenizer.decode(np.concatenate(data.train).tolist())
    assert text.split("<|endoftext|>")[1:] == DOCUMENTS


def test_the_same_text_gives_the_same_bytes(tokenizer: Tokenizer, tmp_path: Path) -> None:
    for name in ("a", "b"):
        prepare(DOCUMENTS, DOCUMENTS[:3], tokenizer, tmp_path / name, source="test")
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == [
        "manifest.json",
        "merges.txt",
        "train_000000.bin",
        "val_000000.bin",
        "vocab.json",
    ]
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_prepared_data_is_not_written_over(tokenizer: Tokenizer, tmp_path: Path) -> None:
    prepare(DOCUMENTS, [], tokenizer, tmp_path, source="test")
    with pytest.raises(DataError, match="holds token shards already"):
        prepare(DOCUMENTS, [], tokenizer, tmp_path, source="test")


def test_a_source_without_text_is_refused(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing has no text to train on"):
        prepare([], [], tokenizer, tmp_path, source="nothing")


def test_one_document_at_least_is_held_out() -> None:
    train, val = hold_out(DOCUMENTS[:3], 0.1, seed=0)
    assert (len(train), len(val)) == (2, 1)
    with pytest.raises(DataError, match="wanted at least 2 documents, .* got 1; .* --separator"):
        hold_out(DOCUMENTS[:1], 0.1, seed=0)


@pytest.mark.parametrize(("share", "seed"), [(0.0, 0), (1.0, 0), (-0.1, 0), (0.5, -1)])
def test_a_share_or_seed_out_of_range_is_refused(share: float, seed: int) -> None:
    with pytest.raises(DataError, match="a share above 0 and below 1"):
        hold_out(DOCUMENTS, share, seed)


def test_the_hold_out_is_a_seeded_share_of_whole_documents() -> None:
    train, val = hold_out(DOCUMENTS, 0.1, seed=4)
    assert len(val) == 3
    assert sorted(train + val) == sorted(DOCUMENTS)
    assert hold_out(DOCUMENTS, 0.1, seed=4) == (train, val)
    assert hold_out(DOCUMENTS, 0.1, seed=5)[1] != val
