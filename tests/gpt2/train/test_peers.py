"""Whether others are alive, with a store in memory and several `Peers` in one process."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed import HashStore  # type: ignore[attr-defined]

from gpt2.errors import DataError
from gpt2.train import peers as module
from gpt2.train.meeting import ALIVE, LostProcessError, Member
from gpt2.train.peers import Peers, silent_ranks, why_lost

MEMBERS = [Member(0, "a"), Member(1, "a"), Member(2, "b")]
FOREVER = 1000.0  # seconds


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> HashStore:
    """The store in which three processes have met."""
    monkeypatch.setattr(module, "LAST_WORDS", 0.05)
    monkeypatch.setattr(module, "POLL", 0.001)
    store = HashStore()
    for rank in range(3):
        store.set(f"beat/{rank}", "0")
        store.set(f"end/{rank}", ALIVE)
    return store


@pytest.fixture
def peers_of(store: HashStore) -> Iterator[Callable[..., Peers]]:
    """Make the peers of a rank, which listen until the test ends."""
    made = []

    def make(rank: int, limit: float = FOREVER) -> Peers:
        made.append(Peers(store, MEMBERS, MEMBERS[rank], limit))
        return made[-1]

    yield make
    for peers in made:
        peers.leave()


PeersOf = Callable[..., Peers]


def test_all_get_the_texts_of_all_again_and_again(peers_of: PeersOf) -> None:
    def twice(peers: Peers) -> list[list[str]]:
        return [peers.gather(f"{peers.own.rank}{name}") for name in "xy"]

    with ThreadPoolExecutor(3) as threads:
        found = list(threads.map(twice, map(peers_of, range(3))))
    assert found == 3 * [[["0x", "1x", "2x"], ["0y", "1y", "2y"]]]


def test_one_that_waits_for_a_text_says_why_another_has_failed(peers_of: PeersOf) -> None:
    waiting, failing = peers_of(0), peers_of(2)
    failing.report(DataError("a shard is\n damaged"))
    with pytest.raises(LostProcessError, match=r"^b \(process 2\): a shard is damaged$"):
        waiting.gather("x")


def test_how_to_go_on_is_said_where_there_is_a_run(peers_of: PeersOf) -> None:
    peers = peers_of(0)
    assert str(peers.lost("reset")).endswith("so it ends, too (reset)")
    peers.advice = "go on with --resume"
    assert str(peers.lost("reset")).endswith("so it ends, too (reset); go on with --resume")


def test_one_that_is_gone_without_a_word_is_named_and_not_one_that_has_lost_it_too(
    peers_of: PeersOf,
) -> None:
    lost = [peers_of(rank).lost("connection reset") for rank in (2, 0)]
    assert str(lost[1]) == (
        "process 0 on a lost the connection to a (process 1), so it ends, too (connection reset)"
    )


def test_where_the_store_is_lost_it_is_the_host_of_rank_0(
    peers_of: PeersOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone:
        def compare_set(self, *args: str) -> None:
            raise RuntimeError("connection reset")

    peers = peers_of(2)
    with monkeypatch.context() as patch:
        patch.setattr(peers, "store", Gone())
        assert "lost the connection to a (processes 0, 1)" in str(peers.lost("reset"))


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, list[str]]]:
    """An event that is set when the process would have ended, and what it has logged."""
    event, lines = threading.Event(), []

    def end(code: int) -> None:
        assert code == 1
        event.set()

    monkeypatch.setattr(module.os, "_exit", end)
    monkeypatch.setattr(module, "log", lines.append)
    yield event, lines


def test_a_process_ends_when_another_gives_no_sign_of_life_and_lets_the_others_know(
    peers_of: PeersOf, ended: tuple[threading.Event, list[str]], store: HashStore
) -> None:
    peers_of(0, limit=0.5)
    assert ended[0].wait(60)
    why = (
        "no sign of life for 0.5 seconds (training.timeout_seconds) from a (process 1), "
        "b (process 2)"
    )
    assert ended[1] == [f"error: {why}"]
    assert json.loads(store.get("end/0")) == why


def test_a_process_ends_when_its_main_thread_does_not_notice_that_another_has_failed(
    peers_of: PeersOf, ended: tuple[threading.Event, list[str]]
) -> None:
    peers_of(0, limit=20.0)
    peers_of(2).report(DataError("a shard is damaged"))
    assert ended[0].wait(60)
    assert ended[1] == ["error: b (process 2): a shard is damaged"]


def test_a_process_that_ends_writes_its_checkpoint_first(
    peers_of: PeersOf, ended: tuple[threading.Event, list[str]]
) -> None:
    peers, lines = peers_of(0, limit=0.5), ended[1]
    before = []

    def write() -> None:
        before.append(len(lines))
        raise OSError("the disk is full")

    peers.finish = write
    assert ended[0].wait(60)
    assert before == [0]


@pytest.mark.parametrize(
    ("own", "heard", "silent"),
    [
        (0, [100, 100, 41], []),  # within the limit
        (0, [100, 100, 39], [2]),
        (0, [100, 69, 39], [1, 2]),  # the other one is on its way
        (0, [100, 71, 39], [2]),
        (2, [39, 39, 39], [0, 1]),  # it does not hear itself: the store is out of reach
        (1, [39, 39, 39], [0, 2]),
    ],
)
def test_the_lost_ones_are_those_that_were_not_heard_of(
    own: int, heard: list[float], silent: list[int]
) -> None:
    assert silent_ranks(MEMBERS, heard, 100, 60, MEMBERS[own]) == silent


def test_reasons_come_before_what_followed_from_them() -> None:
    assert why_lost(MEMBERS, ["", "no data", None], MEMBERS[0], "reset") == "a (process 1): no data"
    both = why_lost(MEMBERS, [None, "no data", "no data"], MEMBERS[0], "reset")
    assert both == "a (process 1), b (process 2): no data"
    assert "another of the 3 processes" in why_lost(MEMBERS, ["", "", ""], MEMBERS[0], "reset")
