"""How the processes of a run meet: in a store, where each says who it is, and what it would run.

The store is torch's TCPStore, which torchrun serves, or else rank 0.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from uuid import uuid4

from torch.distributed import TCPStore  # type: ignore[attr-defined]
from torch.distributed.distributed_c10d import PrefixStore, Store

from gpt2 import devices
from gpt2.errors import ConfigError, Gpt2Error
from gpt2.progress import log

NEEDED = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # with several ranks
LIMIT = 60.0  # seconds to wait for the others where the settings are not known
LATER = 5.0  # seconds more that the others wait for what rank 0 says of those that are missing
LARGEST_PORT = 65535
POLL = 0.05  # seconds between two looks into the store
MOST_CHARACTERS = 2000  # of the error of another process
ALIVE = "null"  # as JSON, why a process has ended: not at all

_served: list[TCPStore] = []  # which rank 0 serves as long as it lives
_met = threading.Event()  # set when this process has met the others


class LostProcessError(Gpt2Error):
    """Another rank of the run has failed or is lost, and so this one ends."""


class DisagreementError(ConfigError):
    """The processes of a run would not run the same."""

    raised_on_every_rank = True


@dataclass(frozen=True)
class Member:
    """A process of the run, as it describes itself when it joins."""

    rank: int
    host: str
    address: str | None = None  # where gloo listens, "" if nowhere; None if it can be any
    facts: Mapping[str, str] = field(default_factory=dict)  # that must be the same in all
    error: str | None = None  # why it cannot take part
    id: str = field(default_factory=lambda: uuid4().hex)


Roll = tuple[Store, list[Member | None]]  # the store of an attempt, and who takes part


def rank_and_count() -> tuple[int, int]:
    """Return this process's rank and the world size, as the launcher gives them.

    Raises:
        ConfigError: They are no such numbers, or what the processes need to meet is missing.
    """
    if "WORLD_SIZE" not in os.environ:
        return 0, 1
    count = devices.number_from_environment("WORLD_SIZE", 1)
    if count > 1:
        if missing := [name for name in NEEDED if not os.environ.get(name)]:
            raise ConfigError(
                f"WORLD_SIZE is {count}, but {' and '.join(missing)} must be set, too; start the "
                "processes with torchrun"
            )
        devices.number_from_environment("MASTER_PORT", 1)
    rank = devices.number_from_environment("RANK", 0, default=0)
    if rank >= count:
        raise ConfigError(
            f"RANK must be below WORLD_SIZE, {count}, got {rank}; start the processes with torchrun"
        )
    return rank, count


@contextmanager
def failing_together() -> Iterator[None]:
    """Let all processes fail, within seconds, where this one fails before it has joined them."""
    try:
        yield
    except Exception as error:
        report_failure(error)
        raise


def report_failure(error: Exception) -> None:
    """Join the others only to let them know why this process cannot take part."""
    with suppress(Gpt2Error):  # they cannot be reached
        rank, count = rank_and_count()
        if count == 1 or _met.is_set():
            return
        own = Member(rank, socket.gethostname(), error=one_line(error))
        store, members = _roll_call(own, count, LIMIT)
        leave(store, rank, [member.rank for member in members if member])
        same = all(member and member.error == own.error for member in members)
        if isinstance(error, Gpt2Error) and same:
            error.raised_on_every_rank = True


def meet(own: Member, count: int, limit: float) -> tuple[Store, list[Member]]:
    """Wait for all processes, and return the store that they have in common, and who they are.

    Args:
        own: This process.
        count: The world size.
        limit: Seconds to wait.
    Raises:
        LostProcessError: One does not come, or cannot take part.
        DisagreementError: Their facts differ, or an address is of no use to the others.
    """
    store, found = _roll_call(own, count, limit)
    try:
        members = _require_all(found, limit)
        require_reachable(members)
        require_same(members, [member.facts for member in members])
    except Gpt2Error:
        leave(store, own.rank, [member.rank for member in found if member])
        raise
    _met.set()
    return store, members


def _require_all(found: Sequence[Member | None], limit: float) -> list[Member]:
    """Return the processes if all have come and can take part."""
    count, members = len(found), [member for member in found if member]
    if len(members) < count:
        absent = ", ".join(str(rank) for rank, member in enumerate(found) if member is None)
        raise LostProcessError(
            f"waited {limit:g} seconds for {count} processes: {named(members)} came, not {absent}; "
            "see what the others have printed"
        )
    if reasons := {member.rank: member.error for member in members if member.error}:
        error = LostProcessError(describe_reasons(members, reasons))
        error.raised_on_every_rank = True
        raise error
    return members


def leave(store: Store, rank: int, ranks: Sequence[int]) -> None:
    """Leave the others; where rank 0 serves the store, it leaves last, after at most some seconds.

    Args:
        store: That of the attempt.
        rank: Of this process.
        ranks: Of all that have come.
    """
    deadline = time.monotonic() + LATER
    with suppress(RuntimeError):  # the store is lost
        store.set(f"left/{rank}", "")
        while _served and time.monotonic() < deadline:
            if store.check([f"left/{other}" for other in ranks]):
                break
            time.sleep(POLL)


def _roll_call(own: Member, count: int, limit: float) -> Roll:
    """Return the store of this attempt, and all processes; None for each that has not come.

    torchrun starts the processes again with the store of the attempt before. So each attempt has a
    name, which rank 0 draws, and rank 0 makes the list; a list without this process is an old one.
    """
    store = connect(own.rank, count, limit)
    calling = _call if own.rank == 0 else _answer
    # A store that gets out of reach now would block this process for a quarter of an hour.
    guard = threading.Timer(2 * (limit + LATER), _give_up, [own.rank, count])
    guard.daemon = True
    guard.start()
    try:
        return calling(store, own, count, limit)
    except RuntimeError as error:
        raise _unreachable(own.rank, count, error) from error
    finally:
        guard.cancel()


def _give_up(rank: int, count: int) -> None:
    log(f"error: {_unreachable(rank, count, TimeoutError('it does not answer any more'))}")
    os._exit(1)


def connect(rank: int, count: int, limit: float) -> Store:
    """Connect to the store, of which rank 0 is the server where torchrun is not.

    Raises:
        LostProcessError: It cannot be reached within `limit` seconds.
    """
    seconds = timedelta(seconds=limit)
    try:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        if port > LARGEST_PORT:
            raise OverflowError(f"a port is at most {LARGEST_PORT}")
        is_served = _served or os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
        if rank == 0 and not is_served:
            _served.append(TCPStore(address, port, is_master=True, wait_for_workers=False))
        _wait_for_port(address, port, limit)  # torch would print pages about each failure
        return TCPStore(address, port, timeout=seconds, wait_for_workers=False)
    except (OSError, OverflowError, RuntimeError) as error:
        raise _unreachable(rank, count, error) from error


def _wait_for_port(address: str, port: int, limit: float) -> None:
    """Return when a connection to the address is accepted; raise OSError if none is."""
    deadline = time.monotonic() + limit
    while True:
        try:
            socket.create_connection((address, port), timeout=limit).close()
            return
        except OSError:  # the server has not started yet
            if time.monotonic() > deadline:
                raise
            time.sleep(POLL)


def _unreachable(rank: int, count: int, error: Exception) -> LostProcessError:
    return LostProcessError(
        f"process {rank} on {socket.gethostname()} could not join the others of the {count} at "
        f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}: {one_line(error)}"
    )


def _call(store: Store, own: Member, count: int, limit: float) -> Roll:
    """Draw the name of this attempt, wait for the other processes, and publish the list."""
    here = _begin(store, own.id, own)
    store.set("attempt", own.id)
    keys = [f"member/{rank}" for rank in range(count)]
    deadline = time.monotonic() + limit
    while not here.check(keys) and time.monotonic() < deadline:
        time.sleep(POLL)
    texts = [here.get(key).decode() if here.check([key]) else "null" for key in keys]
    here.set("roll", f"[{','.join(texts)}]")
    return here, _members(here)


def _answer(store: Store, own: Member, count: int, limit: float) -> Roll:
    """Answer each attempt that is named, until the list of one has this process."""
    attempt, deadline = "", time.monotonic() + limit
    while time.monotonic() < deadline:
        if store.check(["attempt"]) and (named := store.get("attempt").decode()) != attempt:
            attempt, deadline = named, time.monotonic() + limit + LATER
            here = _begin(store, attempt, own)
        if attempt and here.check(["roll"]):
            members = _members(here)
            if any(member and member.id == own.id for member in members):
                return here, members
        time.sleep(POLL)
    return store, [own if rank == own.rank else None for rank in range(count)]


def _begin(store: Store, attempt: str, own: Member) -> Store:
    """Write this process, which is alive, into the store of an attempt, and return that store."""
    here = PrefixStore(attempt, store)
    here.set(f"beat/{own.rank}", "0")
    here.set(f"end/{own.rank}", ALIVE)
    here.set(f"member/{own.rank}", json.dumps(asdict(own)))
    return here


def _members(store: Store) -> list[Member | None]:
    listed = json.loads(store.get("roll"))
    return [entry and Member(**entry) for entry in listed]


def gloo_address() -> str | None:
    """Return the address to which the name of this host leads, where gloo listens; "" if to none.

    None with GLOO_SOCKET_IFNAME, since gloo then listens at that network interface.
    """
    if "GLOO_SOCKET_IFNAME" in os.environ:
        return None
    with suppress(OSError):
        return str(socket.getaddrinfo(socket.gethostname(), None)[0][4][0])
    return ""


def require_reachable(members: Sequence[Member]) -> None:
    """Make sure that processes on several hosts do not listen where their own host alone hears.

    Raises:
        DisagreementError: One does.
    """
    if len({member.host for member in members}) == 1:
        return
    for member in members:
        address = member.address
        if address is None or not (address in ("", "::1") or address.startswith("127.")):
            continue
        leads = f"leads to {address}" if address else "leads to no address"
        raise DisagreementError(
            f"on {member.host} the name {member.host} {leads}, where the other hosts cannot reach "
            "its processes: set GLOO_SOCKET_IFNAME to the network interface between the hosts, "
            "such as eth0, on all of them, or correct /etc/hosts there"
        )


def require_same(members: Sequence[Member], facts: Sequence[Mapping[str, str]]) -> None:
    """Make sure that all processes have the same facts.

    Args:
        members: All processes, by rank.
        facts: Those of each, by name.
    Raises:
        DisagreementError: They differ.
    """
    if found := differences(members, facts):
        raise DisagreementError(
            f"the processes would not run the same: {'; '.join(found)}. Start all with the same "
            "command, the same files and one run directory, which they share"
        )


def differences(members: Sequence[Member], facts: Sequence[Mapping[str, str]]) -> list[str]:
    """Return a line for each fact that differs: its values, and which processes have them.

    >>> members = [Member(0, "a"), Member(1, "a"), Member(2, "b")]
    >>> differences(members, [{"seed": "1"}, {"seed": "1"}, {"seed": "2"}])
    ['seed is 1 on a (processes 0, 1), 2 on b (process 2)']
    """
    lines = []
    for name in dict.fromkeys(name for each in facts for name in each):
        ranks: dict[str, list[int]] = {}
        for rank, each in enumerate(facts):
            ranks.setdefault(each.get(name, "not set"), []).append(rank)
        if len(ranks) > 1:
            parts = (f"{value} on {named(members, where)}" for value, where in ranks.items())
            lines.append(f"{name} is {', '.join(parts)}")
    return lines


def named(members: Sequence[Member], ranks: Collection[int] | None = None) -> str:
    """Return processes by their hosts.

    >>> members = [Member(0, "a"), Member(1, "a"), Member(2, "b")]
    >>> named(members)
    'a (processes 0, 1), b (process 2)'
    >>> named(members, [1])
    'a (process 1)'
    """
    chosen = [member for member in members if ranks is None or member.rank in ranks]
    hosts = dict.fromkeys(member.host for member in chosen)
    parts = []
    for host in hosts:
        there = [str(member.rank) for member in chosen if member.host == host]
        parts.append(f"{host} (process{'es' * (len(there) > 1)} {', '.join(there)})")
    return ", ".join(parts)


def describe_reasons(members: Sequence[Member], reasons: Mapping[int, str | None]) -> str:
    """Return what each process says of why it has ended, alike ones together."""
    by_reason: dict[str | None, list[int]] = {}
    for rank, reason in reasons.items():
        by_reason.setdefault(reason, []).append(rank)
    return "; ".join(f"{named(members, ranks)}: {text}" for text, ranks in by_reason.items())


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:MOST_CHARACTERS]
