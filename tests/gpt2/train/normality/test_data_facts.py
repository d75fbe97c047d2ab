"""What the folder of a run's tokens still shows."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gpt2.config import DataConfig, RunConfig
from gpt2.data.manifest import read_manifest
from gpt2.data.shard_folder import open_shards
from gpt2.train.normality.data_facts import read_data_facts


def test_source_number_and_frequencies_are_those_of_the_shards(
    config: RunConfig, shards: Path
) -> None:
    facts = read_data_facts(config)
    assert facts is not None
    manifest = read_manifest(shards)
    [held_out] = manifest.of("val")
    assert facts.source == manifest.source
    assert facts.train_tokens == sum(shard.tokens for shard in manifest.of("train"))
    assert facts.bytes_per_token == held_out.bytes / held_out.tokens
    assert 0.5 * math.log(300) < facts.unigram_nats < math.log(300)


def test_a_run_on_the_first_tokens_reads_only_those(config: RunConfig) -> None:
    few = replace(config, data=replace(config.data, train_tokens=64))
    facts, of_all = read_data_facts(few), read_data_facts(config)
    assert facts is not None
    assert of_all is not None
    assert facts.train_tokens == 64
    assert facts.unigram_nats < of_all.unigram_nats


def test_the_frequencies_of_two_equally_frequent_tokens_give_one_bit(
    config: RunConfig, tmp_path: Path
) -> None:
    tokens = np.array([0, 1] * 5000, np.uint16)
    tokens.tofile(tmp_path / "train.bin")
    tokens.tofile(tmp_path / "val.bin")
    facts = read_data_facts(replace(config, data=DataConfig(directory=tmp_path)))
    assert facts is not None
    assert facts.unigram_nats == pytest.approx(math.log(2))
    assert (facts.source, facts.bytes_per_token) == (None, None)  # another program's file


def test_a_folder_that_is_gone_or_damaged_shows_nothing(
    config: RunConfig, shards: Path, tmp_path: Path
) -> None:
    gone = replace(config, data=DataConfig(directory=tmp_path / "gone"))
    assert read_data_facts(gone) is None
    shutil.copytree(shards, tmp_path / "damaged")
    (tmp_path / "damaged/manifest.json").write_text("{}")
    assert read_data_facts(replace(config, data=DataConfig(directory=tmp_path / "damaged"))) is None
    assert open_shards(shards)  # as it was


@pytest.mark.parametrize("kind", ["own", "another program's"])
def test_no_shard_is_read_whole_as_that_takes_long(
    config: RunConfig, shards: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_whole(path: Path) -> str:
        raise AssertionError(f"{path} is read for its checksum")

    monkeypatch.setattr("gpt2.data.shard_folder.checksum_or_none", read_whole)
    if kind != "own":
        for split in ("train", "val"):
            np.arange(100, dtype=np.uint16).tofile(tmp_path / f"{split}.bin")
    directory = shards if kind == "own" else tmp_path
    assert read_data_facts(replace(config, data=DataConfig(directory=directory))) is not None
    with pytest.raises(AssertionError, match="is read for its checksum"):
        open_shards(directory)
