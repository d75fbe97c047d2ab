"""Whether the processes of a run are alive, and why one has ended, through the store of the run."""

import itertools
import json
import os
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from torch.distributed.distributed_c10d import Store

from gpt2.progress import log
from gpt2.train.meeting import (
    ALIVE,
    POLL,
    LostProcessError,
    Member,
    describe_reasons,
    leave,
    named,
    one_line,
)

BEATS = 20  # signs of life within the limit
LAST_WORDS = 3.0  # seconds in which all that are alive have noticed that a connection broke
BROKEN = '""'  # as JSON, why a process has ended: another has


class Peers:
    """The processes of a run, of which this is one, and whether they are alive.

    A thread writes a sign of life into the store, and reads those of the others. A second one ends
    this process when another is lost: the main thread may wait for that one in a collective
    operation, which nothing else would end for half an hour, and a store that is out of reach
    blocks the first thread.

    Args:
        store: That of this attempt.
        members: All processes, by rank.
        own: This process.
        limit: Seconds without a sign of life after which a process is lost.
    """

    def __init__(self, store: Store, members: Sequence[Member], own: Member, limit: float) -> None:
        self.store, self.members, self.own, self.limit = store, members, own, limit
        self.advice = ""  # how to go on, where there is a run to go on with
        self.finish: Callable[[], object] = lambda: None  # what must be done before this one ends
        self._numbers = itertools.count()
        self._heard = [time.monotonic()] * len(members)  # when, of each
        self._ended = False  # whether any process has
        self._missing: list[int] = []  # those that are lost without a word
        self._over = threading.Event()
        for work in (self._listen, self._watch):
            threading.Thread(target=work, daemon=True).start()

    def gather(self, text: str) -> list[str]:
        """Return the texts of all processes, by rank.

        Raises:
            LostProcessError: One has ended.
        """
        number = next(self._numbers)
        keys = self._keys(f"gathered/{number}")
        self.store.set(keys[self.own.rank], text)
        while not self.store.check(keys):
            if any(end is not None for end in self._ends()):
                raise self.lost("it has ended")
            time.sleep(POLL)
        return [value.decode() for value in self.store.multi_get(keys)]

    def leave(self) -> None:
        """Stop listening: what the others do does not matter any more."""
        self._over.set()
        present = [member.rank for member in self.members if member.rank not in self._missing]
        leave(self.store, self.own.rank, present)

    def report(self, error: Exception) -> None:
        """Let the others know why this process ends."""
        with suppress(RuntimeError):  # the store is lost
            self.store.set(f"end/{self.own.rank}", json.dumps(one_line(error) or repr(error)))

    def lost(self, detail: str) -> LostProcessError:
        """Return the error that names which process has ended, and why, as far as it is known.

        Args:
            detail: How this process noticed it.
        """
        ends: list[str | None] = [None] * len(self.members)
        deadline = time.monotonic() + LAST_WORDS
        try:
            self.store.compare_set(f"end/{self.own.rank}", ALIVE, BROKEN)
            while None in (ends := self._ends()) and time.monotonic() < deadline:
                if any(end for rank, end in enumerate(ends) if rank != self.own.rank):
                    break  # a reason is known
                time.sleep(POLL)
        except RuntimeError:  # the store is lost, and with it the host of rank 0
            host = self.members[0].host
            ends = ["" if member.host != host else None for member in self.members]
        self._missing = [
            rank for rank, end in enumerate(ends) if end is None and rank != self.own.rank
        ]
        return self._error(why_lost(self.members, ends, self.own, detail))

    def _error(self, why: str) -> LostProcessError:
        error = LostProcessError("; ".join(filter(None, [why, self.advice])))
        error.raised_on_every_rank = False
        return error

    def _listen(self) -> None:
        keys, beats = self._keys("beat"), [b""] * len(self.members)
        number = 0
        with suppress(RuntimeError):  # the store is lost: nothing is heard any more
            while not self._over.wait(self.limit / BEATS):
                number += 1
                self.store.set(keys[self.own.rank], str(number))
                before, beats = beats, self.store.multi_get(keys)
                for rank, (old, new) in enumerate(zip(before, beats, strict=True)):
                    if old != new:
                        self._heard[rank] = time.monotonic()
                self._ended = any(end is not None for end in self._ends())

    def _watch(self) -> None:
        looked = ended = time.monotonic()
        while not self._over.wait(min(1, self.limit / BEATS)):
            before, looked = looked, time.monotonic()
            if looked - before > self.limit / 2:  # this process was stopped, as by Ctrl-Z
                self._heard = [looked] * len(self.members)
            if silent := silent_ranks(self.members, self._heard, looked, self.limit, self.own):
                self._missing = list(silent)
                self._end(self._error(silence(self.members, silent, self.limit)))
                return
            if not self._ended:
                ended = looked
            elif looked > ended + LAST_WORDS:  # the main thread does not notice: NCCL
                self._end(self.lost("it has ended"))
                return

    def _end(self, error: LostProcessError) -> None:
        with suppress(Exception):  # such as a checkpoint that cannot be written, which is logged
            self.finish()
        if self._over.is_set():  # by the main thread, which has noticed it meanwhile
            return
        log(f"error: {error}")
        if 0 not in self._missing:  # else the store is out of reach
            # Not before the others have noticed it, too: they would take this process for the lost.
            self.report(error)
            self.leave()
        os._exit(1)

    def _ends(self) -> list[str | None]:
        """Return why each process has ended: None while it lives, "" if for the end of another."""
        return [json.loads(value) for value in self.store.multi_get(self._keys("end"))]

    def _keys(self, name: str) -> list[str]:
        return [f"{name}/{member.rank}" for member in self.members]


def why_lost(
    members: Sequence[Member], ends: Sequence[str | None], own: Member, detail: str
) -> str:
    """Return which process has ended, and why.

    Args:
        members: All processes, by rank.
        ends: Why each has ended: None if it has not said so, "" if for the end of another.
        own: This process.
        detail: How this process noticed it.
    """
    if reasons := {rank: end for rank, end in enumerate(ends) if end and rank != own.rank}:
        return describe_reasons(members, reasons)
    missing = [rank for rank, end in enumerate(ends) if end is None and rank != own.rank]
    who = named(members, missing) if missing else f"another of the {len(members)} processes"
    return (
        f"process {own.rank} on {own.host} lost the connection to {who}, so it ends, too ({detail})"
    )


def silent_ranks(
    members: Sequence[Member], heard: Sequence[float], now: float, limit: float, own: Member
) -> list[int]:
    """Return the ranks that are lost: none as long as all have been heard of within the limit.

    Where this process does not even hear itself, the store is out of reach: that is the host of
    rank 0.

    Args:
        members: All processes, by rank.
        heard: When each was heard of last, in seconds.
        now: In seconds, too.
        limit: Seconds.
        own: This process.
    """
    if min(heard) >= now - limit:
        return []
    silent = [rank for rank, last in enumerate(heard) if last < now - limit / 2]
    if own.rank in silent and own.host != members[0].host:
        return [member.rank for member in members if member.host == members[0].host]
    return [rank for rank in silent if rank != own.rank]


def silence(members: Sequence[Member], silent: Collection[int], limit: float) -> str:
    """Return that nothing is heard of processes.

    >>> silence([Member(0, "a"), Member(1, "b")], [1], 60.0)
    'no sign of life for 60 seconds (training.timeout_seconds) from b (process 1)'
    """
    return (
        f"no sign of life for {limit:g} seconds (training.timeout_seconds) from "
        f"{named(members, silent)}"
    )
