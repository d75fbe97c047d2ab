"""How processes meet, with threads and a store in memory in their place."""

import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed import HashStore  # type: ignore[attr-defined]

from gpt2.errors import ConfigError
from gpt2.train import meeting
from gpt2.train.meeting import (
    DisagreementError,
    LostProcessError,
    Member,
    differences,
    gloo_address,
    meet,
    report_failure,
    require_reachable,
)

HOSTS = ["a", "a", "b"]


def member(rank: int, host: str = "", **said: object) -> Member:
    return Member(rank, host or HOSTS[rank], **said)  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def store(monkeypatch: pytest.MonkeyPatch) -> HashStore:
    """The store that all processes find."""
    store = HashStore()
    monkeypatch.setattr(meeting, "connect", lambda rank, count, limit: store)
    monkeypatch.setattr(meeting, "POLL", 0.001)
    return store


def all_meet(members: list[Member], count: int = 3, limit: float = 30.0) -> list[object]:
    """Return what each process finds: the ranks and hosts of all, or the error."""

    def one(own: Member) -> object:
        try:
            return [(found.rank, found.host) for found in meet(own, count, limit)[1]]
        except (LostProcessError, DisagreementError) as error:
            return str(error)

    with ThreadPoolExecutor(len(members)) as threads:
        return list(threads.map(one, members))


def test_all_processes_find_all_others() -> None:
    found = all_meet([member(rank) for rank in range(3)])
    assert found == 3 * [[(0, "a"), (1, "a"), (2, "b")]]


def test_processes_that_are_started_again_do_not_take_the_ones_before_for_others() -> None:
    all_meet([member(rank) for rank in range(3)])
    found = all_meet([member(rank, "new") for rank in range(3)])
    assert found == 3 * [[(0, "new"), (1, "new"), (2, "new")]]


def test_an_attempt_that_ended_before_all_came_does_not_disturb_the_next() -> None:
    all_meet([member(0), member(2)], limit=0.01)
    found = all_meet([member(rank, "new") for rank in range(3)])
    assert found == 3 * [[(0, "new"), (1, "new"), (2, "new")]]


def test_one_that_does_not_come_is_named() -> None:
    found = all_meet([member(0), member(2)], limit=0.2)
    assert found == 2 * [
        "waited 0.2 seconds for 3 processes: a (process 0), b (process 2) came, not 1; see what "
        "the others have printed"
    ]


def test_without_rank_0_each_names_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    found = all_meet([member(2)], limit=0.01)
    assert found == [
        "waited 0.01 seconds for 3 processes: b (process 2) came, not 0, 1; see what the others "
        "have printed"
    ]


@pytest.mark.parametrize("failing", [0, 2])
def test_all_say_what_one_of_them_has_found_wrong(failing: int) -> None:
    members = [member(rank, error="no data" if rank == failing else None) for rank in range(3)]
    found = all_meet(members)
    assert found == 3 * [f"{HOSTS[failing]} (process {failing}): no data"]


def test_facts_that_differ_are_named_with_their_values_and_processes() -> None:
    facts = [{"seed": "1", "steps": "5"}, {"seed": "2", "steps": "5"}, {"seed": "1", "steps": "5"}]
    found = all_meet([member(rank, facts=facts[rank]) for rank in range(3)])
    assert found == 3 * [
        "the processes would not run the same: seed is 1 on a (process 0), b (process 2), 2 on a "
        "(process 1). Start all with the same command, the same files and one run directory, "
        "which they share"
    ]


def test_a_fact_that_one_process_lacks_differs() -> None:
    members = [member(0), Member(1, "b")]
    differing = ["x is 1 on a (process 0), not set on b (process 1)"]
    assert differences(members, [{"x": "1"}, {}]) == differing
    assert differences(members, [{"x": "1"}, {"x": "1"}]) == []


@pytest.mark.parametrize(
    ("address", "leads"),
    [("127.0.1.1", "leads to 127.0.1.1"), ("::1", "leads to ::1"), ("", "leads to no address")],
)
def test_a_host_whose_name_leads_to_itself_alone_is_named(address: str, leads: str) -> None:
    members = [member(0, address="10.0.0.1"), member(2, address=address)]
    with pytest.raises(DisagreementError, match=f"on b the name b {leads}, .*GLOO_SOCKET_IFNAME"):
        require_reachable(members)


def test_processes_of_one_host_may_listen_where_it_alone_hears() -> None:
    require_reachable([member(0, address="127.0.1.1"), member(1, address="127.0.1.1")])


def test_a_network_interface_that_is_chosen_replaces_the_address_of_the_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args: [(0, 0, 0, "", ("127.0.1.1", 0))])
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    assert gloo_address() == "127.0.1.1"
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth0")
    assert gloo_address() is None


@pytest.fixture
def as_rank(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Set the variables of a launcher."""

    def arrange(rank: int, count: int) -> None:
        monkeypatch.setattr(meeting, "rank_and_count", lambda: (rank, count))
        meeting._met.clear()

    return arrange


def test_a_process_that_fails_before_it_joins_lets_the_others_know(
    as_rank: Callable[[int, int], None],
) -> None:
    as_rank(2, 3)
    with ThreadPoolExecutor() as threads:
        failing = threads.submit(report_failure, ConfigError("no such flag"))
        found = all_meet([member(0), member(1)])
        failing.result(30)
    assert found == 2 * [f"{socket.gethostname()} (process 2): no such flag"]


def test_a_failure_of_all_is_printed_once(as_rank: Callable[[int, int], None]) -> None:
    errors = [ConfigError("no such flag") for _ in range(2)]
    with ThreadPoolExecutor() as threads:
        as_rank(0, 2)
        first = threads.submit(report_failure, errors[0])
        while not first.running():
            pass
        all_meet([member(1, error="no such flag")], count=2)
        first.result(30)
    assert errors[0].raised_on_every_rank


def test_a_process_alone_reports_to_nobody(as_rank: Callable[[int, int], None]) -> None:
    as_rank(0, 1)
    error = ConfigError("no such flag")
    report_failure(error)
    assert not error.raised_on_every_rank
