import os
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


def write_shard(path: Path, tokens: list[int]) -> None:
    path.write_bytes(header_of(len(tokens)) + np.array(tokens, "<u2").tobytes())


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("pretrain_train.bin", "pretrain_val.bin"),
        ("train1.bin", "valid1.bin"),
        ("Training-0.bin", "constraint.validation.bin"),
        ("trains_TRAIN_x.bin", "valuable_VAL.bin"),
    ],
)
def test_a_foreign_file_belongs_to_the_split_that_is_a_word_of_its_name(
    tmp_path: Path, train: str, val: str
) -> None:
    write_shard(tmp_path / train, TRAIN)
    write_shard(tmp_path / val, VAL)
    data = open_shards(tmp_path)
    assert np.concatenate(data.train).tolist() == TRAIN
    assert np.concatenate(data.val).tolist() == VAL


@pytest.mark.parametrize(
    "name", ["pretrain.bin", "train_val.bin", "test.bin", "interval.bin", "x.BIN", "validate.npy"]
)
def test_a_foreign_file_of_no_split_or_both_is_refused(tmp_path: Path, name: str) -> None:
    write_nanogpt(tmp_path)
    write_shard(tmp_path / name, TRAIN)
    told = rf"{name} must have one of the words train and val in its name, .*rename it or move it"
    with pytest.raises(DataError, match=told):
        open_shards(tmp_path)


def test_hidden_files_are_no_shards(tmp_path: Path) -> None:
    write_nanogpt(tmp_path)
    (tmp_path / "._train.bin").write_bytes(b"of macOS")
    assert np.concatenate(open_shards(tmp_path).train).tolist() == TRAIN


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
@pytest.mark.parametrize("name", ["train.bin", "manifest.json", "part/manifest.json"])
def test_a_named_pipe_is_refused_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match=f"cannot read .*{name}: it is no regular file"):
        open_shards(tmp_path)


@pytest.mark.parametrize("missing", ["train", "val"])
@pytest.mark.parametrize("name", ["{}.bin", "tiny_{}_000000.bin"])
def test_a_folder_without_a_split_is_opened_with_none_of_its_tokens(
    tmp_path: Path, missing: str, name: str
) -> None:
    there = "val" if missing == "train" else "train"
    write_shard(tmp_path / name.format(there), TRAIN)
    assert getattr(open_shards(tmp_path), missing) == []


def test_several_prepared_folders_are_no_parts_of_one(shards: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(shards, tmp_path / name)
    told = "holds 2 folders that are no parts of one source; name one of them, such as .*a$"
    with pytest.raises(DataError, match=told):
        open_shards(tmp_path)
