"""What all processes of a run must have in common."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier
from typing import Any, cast

import pytest
import torch

from gpt2.config import GPT2Config, RunConfig
from gpt2.data.shard_folder import open_shards
from gpt2.files.pretrained import GPT2
from gpt2.train import agreement
from gpt2.train.agreement import (
    MAY_DIFFER,
    facts_of,
    facts_of_checkpoint,
    facts_of_data,
    facts_of_start,
    facts_of_weights,
    require_shared,
)
from gpt2.train.meeting import DisagreementError, Member
from gpt2.train.peers import Peers


def test_every_setting_is_compared_or_known_to_differ(config: RunConfig) -> None:
    assert facts_of(config).keys() | MAY_DIFFER == RunConfig.names()
    assert RunConfig.names() > MAY_DIFFER


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("optimizer", "learning_rate", 0.5),
        ("data", "seed", 4),
        ("training", "seed", 2),
        ("training", "batch_tokens", 128),
        ("evaluation", "every", 3),
        ("model", "n_layer", 1),
    ],
)
def test_a_setting_that_differs_is_a_fact_that_differs(
    config: RunConfig, section: str, key: str, value: Any
) -> None:
    other = replace(config, **{section: replace(getattr(config, section), **{key: value})})
    one, two = facts_of(config), facts_of(other)
    assert {name for name in one if one[name] != two[name]} == {f"{section}.{key}"}
    assert two[f"{section}.{key}"] == str(value)


def test_long_values_are_cut_and_differ_all_the_same(config: RunConfig) -> None:
    texts = [
        facts_of(replace(config, history=replace(config.history, text=100 * "a" + end)))
        for end in "xy"
    ]
    one, two = (facts["history.text"] for facts in texts)
    assert len(one) < 90 and one[:60] == two[:60] and one != two


def test_what_is_started_and_the_versions_are_facts(config: RunConfig) -> None:
    facts = facts_of_start(config, "a new run")
    assert facts["what is started"] == "a new run"
    assert facts["the version of torch"] == torch.__version__
    assert facts["the version of python"].count(".") == 1


def test_data_are_compared_by_what_is_in_them(
    config: RunConfig, shards: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(shards, tmp_path / "copy"))
    facts = facts_of_data(config, open_shards(shards))
    assert facts == facts_of_data(config, open_shards(copy))
    rows = tmp_path / "rows.jsonl"
    row = {"activity_label": "", "ctx_a": "a", "ctx_b": "", "ctx": "a", "label": 0}
    found = []
    for endings in ("bcde", "bxde"):
        rows.write_text(json.dumps(row | {"endings": list(endings)}) + "\n")
        evaluated = replace(config, evaluation=replace(config.evaluation, hellaswag=str(rows)))
        found.append(facts_of_data(evaluated, open_shards(copy))["the checksum of HellaSwag"])
    assert found[0] != found[1]


def test_checkpoints_are_compared_by_name_and_manifest(tmp_path: Path) -> None:
    checkpoint = tmp_path / "step_00000002"
    name = "the newest intact checkpoint"
    assert facts_of_checkpoint(None) == {name: "none"}
    assert facts_of_checkpoint(checkpoint) == {name: "step_00000002 (which is not there)"}
    checkpoint.mkdir()
    (checkpoint / "manifest.json").write_text("{}")
    assert facts_of_checkpoint(checkpoint) == {name: "step_00000002 (44136fa355b3678a)"}


def test_weights_are_compared_by_every_bit() -> None:
    config = GPT2Config(vocab_size=11, n_positions=4, n_embd=4, n_layer=1, n_head=1)
    model = GPT2(config, seed=1)
    before = facts_of_weights(model)
    assert before == facts_of_weights(GPT2(config, seed=1))
    with torch.no_grad():
        model.h[0].mlp.c_fc.weight.view(torch.int32)[1, 2] ^= 1
    assert facts_of_weights(model) != before


class Gathered:
    """Peers that meet in this process, each with its own view of the disk."""

    def __init__(self, rank: int, barrier: Any, seen: list[str]) -> None:
        self.members = [Member(0, "a", id="x"), Member(1, "b", id="y")]
        self.own = self.members[rank]
        self.barrier, self.seen = barrier, seen

    def gather(self, text: str) -> list[str]:
        self.seen[self.own.rank] = text
        self.barrier.wait(60)
        found = list(self.seen)
        self.barrier.wait(60)
        return found


def shared_between(run: Path, other: Path) -> list[str]:
    """Return what each of two processes finds, whose run directories are these."""
    barrier, seen = Barrier(2), ["", ""]

    def check(rank: int, run: Path) -> str:
        try:
            require_shared(run, cast(Peers, Gathered(rank, barrier, seen)))
        except DisagreementError as error:
            return str(error)
        return "shared"

    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(check, (0, 1), (run, other)))


@pytest.mark.parametrize("there", [True, False], ids=["existing", "new"])
def test_a_shared_run_directory_is_seen_by_all_and_stays_as_it_was(
    tmp_path: Path, there: bool
) -> None:
    run = tmp_path / "run"
    if there:
        run.mkdir()
    assert shared_between(run, run) == ["shared", "shared"]
    assert run.exists() == there
    assert not there or not list(run.iterdir())


def test_a_run_directory_that_is_not_shared_is_refused_by_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agreement, "SEEN_WITHIN", 0.01)
    found = shared_between(tmp_path / "run", tmp_path / "private")
    assert found[0] == found[1]
    assert f"b (process 1) does not see in {tmp_path / 'private'} what a (process 0)" in found[0]
    assert not (tmp_path / "run").exists()


def test_a_process_alone_shares_nothing(tmp_path: Path) -> None:
    require_shared(tmp_path / "run", None)
    assert not (tmp_path / "run").exists()
