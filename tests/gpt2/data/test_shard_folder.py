import shutil
from pathlib import Path

import numpy as np
import pytest

from gpt2.data.shard_folder import open_shards
from gpt2.data.shards import header_of
from gpt2.errors import DataError
from llm_tokenizer import Tokenizer


@pytest.fixture
def copied(shards: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shards, tmp_path / "copy"))


def test_a_folder_without_shards_is_told_with_the_command_that_makes_them(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no token shards .* gpt2 prepare SOURCE --out"):
        open_shards(tmp_path)


def test_a_shard_that_is_not_the_listed_one_is_named(copied: Path) -> None:
    content = header_of(3) + np.array([1, 2, 3], "<u2").tobytes()
    (copied / "val_000000.bin").write_bytes(content)
    with pytest.raises(DataError, match="val_000000.bin must hold the .* checksum is another"):
        open_shards(copied)


def test_one_flipped_bit_in_a_shard_is_found(copied: Path) -> None:
    content = bytearray((copied / "train_000000.bin").read_bytes())
    content[-1] ^= 1
    (copied / "train_000000.bin").write_bytes(content)
    with pytest.raises(DataError, match="train_000000.bin must hold"):
        open_shards(copied)


def test_another_tokenizer_beside_the_shards_is_refused(copied: Path) -> None:
    Tokenizer.train(["another text, another vocabulary"], 280).save(copied)
    with pytest.raises(DataError, match="made with another tokenizer"):
        open_shards(copied)


TRAIN, VAL = [50256, 1, 2, 3, 50256, 4], [50256, 7]


def write_llm_c(folder: Path) -> None:
    for name, tokens in (("val_000000", VAL), ("train_000001", TRAIN[:4]),
                         ("train_000002", TRAIN[4:])):  # fmt: skip
        content = header_of(len(tokens)) + np.array(tokens, "<u2").tobytes()
        (folder / f"fineweb_{name}.bin").write_bytes(content)


def write_nanogpt(folder: Path) -> None:
    np.array(TRAIN, np.uint16).tofile(folder / "train.bin")
    np.array(VAL, np.uint16).tofile(folder / "val.bin")


def write_build_nanogpt(folder: Path) -> None:
    np.save(folder / "edufineweb_val_000000.npy", np.array(VAL, np.uint16))
    np.save(folder / "edufineweb_train_000001.npy", np.array(TRAIN, np.uint16))


@pytest.mark.parametrize("write", [write_llm_c, write_nanogpt, write_build_nanogpt])
def test_the_files_of_other_programs_are_gpt2s_ids(tmp_path: Path, write: object) -> None:
    write(tmp_path)  # type: ignore[operator]
    data = open_shards(tmp_path)
    assert np.concatenate(data.train).tolist() == TRAIN
    assert np.concatenate(data.val).tolist() == VAL
    assert data.tokenizer.n_vocab == 50257
    before = data.fingerprint
    assert open_shards(tmp_path).fingerprint == before
    for path in tmp_path.iterdir():
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        path.write_bytes(content)
        assert open_shards(tmp_path).fingerprint != before
        content[-1] ^= 1
        path.write_bytes(content)


def test_a_vocabulary_beside_them_is_theirs(tmp_path: Path, tokenizer: Tokenizer) -> None:
    write_nanogpt(tmp_path)
    tokenizer.save(tmp_path)
    assert open_shards(tmp_path).tokenizer.fingerprint == tokenizer.fingerprint


def test_the_characters_of_nanogpt_are_refused(tmp_path: Path) -> None:
    write_nanogpt(tmp_path)
    (tmp_path / "meta.pkl").write_bytes(b"")
    with pytest.raises(DataError, match="a vocabulary in meta.pkl, a pickle, which is not read"):
        open_shards(tmp_path)


@pytest.mark.parametrize("write", [write_llm_c, write_nanogpt, write_build_nanogpt])
def test_an_id_without_an_embedding_is_refused_by_name_of_its_shard(
    tmp_path: Path, write: object
) -> None:
    write(tmp_path)  # type: ignore[operator]
    data = open_shards(tmp_path)
    data.check_ids(50257)
    told = r"train.* holds the id 50256, the model has 50256 embeddings; .*vocab-size 50257"
    with pytest.raises(DataError, match=told):
        data.check_ids(50256)


def test_shards_whose_vocabulary_fits_need_no_check(shards: Path, tokenizer: Tokenizer) -> None:
    data = open_shards(shards)
    data.check_ids(tokenizer.n_vocab)
    with pytest.raises(DataError, match=r"train_000000.bin holds the id 299"):
        data.check_ids(tokenizer.n_vocab - 1)
