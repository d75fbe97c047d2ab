"""How fast does a server stream texts? A lean client that counts events and notes when they come.

It shares the processor with the server that it measures, so it does little: HTTP/1.1 by hand, and
no JSON is parsed.
"""

import asyncio
import json
import random
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

EVENT = b"data: {"
TEXT = re.compile(rb'"text": ?"[^"]')  # the first event may hold none
WHOLE = re.compile(rb'"finish_reason": ?"length"')

Body = dict[str, Any]


class StreamError(Exception):
    """A server's answer is no whole text."""


@dataclass
class Stream:
    """One text as it came; all in seconds of one clock."""

    started: float
    first: float = 0.0  # when the first text came
    ended: float = 0.0
    events: list[float] = field(default_factory=list)  # when each event came

    def gaps(self) -> Iterator[float]:
        """Return the seconds between events."""
        return (b - a for a, b in zip(self.events, self.events[1:], strict=False))

    def between(self, begin: float, end: float) -> int:
        """Return how many events came after `begin`, up to `end`."""
        return sum(begin < came <= end for came in self.events)


@dataclass(frozen=True, kw_only=True)
class Load:
    """What some clients saw together."""

    streams: list[Stream]
    seconds: float
    own_share: float  # processor time of this client over `seconds`: 1 is a whole core


@dataclass(frozen=True, kw_only=True)
class Join:
    """What one more client sees while others stream."""

    steps: list[float]  # time to first token, in units of the time between tokens of the others
    passes: list[float]  # events that each of the others got until then: the median over them
    step_seconds: float  # time between tokens of the others, the median


async def load(port: int, bodies: Sequence[Body], clients: int) -> Load:
    """Let so many clients ask for texts, each for the next one as soon as its last has ended."""
    waiting = list(reversed(bodies))

    async def ask() -> list[Stream]:
        done = []
        while waiting:
            done.append(await stream(port, waiting.pop()))
        return done

    started, cpu = time.perf_counter(), time.process_time()
    lists = await asyncio.gather(*(ask() for _ in range(clients)))
    seconds = time.perf_counter() - started
    return Load(
        streams=[each for done in lists for each in done],
        seconds=seconds,
        own_share=(time.process_time() - cpu) / seconds,
    )


async def join(port: int, others: Sequence[Body], more: Sequence[Body]) -> Join:
    """Let some clients stream, and while all do, others come, one after the other.

    Raises:
        StreamError: The others ended before one came.
    """
    draw = random.Random(0)
    streams = [Stream(0.0) for _ in others]
    tasks = [
        asyncio.create_task(stream(port, body, known))
        for body, known in zip(others, streams, strict=True)
    ]
    while not all(known.first for known in streams) and not any(task.done() for task in tasks):
        await asyncio.sleep(0.01)
    came, passes = [], []
    for body in more:
        await asyncio.sleep(draw.uniform(0.1, 0.3))  # at any moment of a step
        late = await stream(port, body)
        if any(task.done() for task in tasks):
            break
        came.append(late.first - late.started)
        passes.append(
            statistics.median(known.between(late.started, late.first) for known in streams)
        )
    await asyncio.gather(*tasks)
    if not came:
        raise StreamError("the others ended before one more text came; let them write more tokens")
    step = statistics.median(gap for known in streams for gap in known.gaps())
    return Join(steps=[seconds / step for seconds in came], passes=passes, step_seconds=step)


async def stream(port: int, body: Body, known: Stream | None = None) -> Stream:
    """Ask for one text, and return it when it has ended.

    Args:
        port: Of a server on this machine.
        body: Of the request.
        known: Is filled and returned; it shows how far the text is.
    Raises:
        StreamError: It is no stream, or not of the length that was asked for.
        OSError: There is no such server.
    """
    content = json.dumps(body).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    known = known or Stream(0.0)
    known.started = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(head.encode() + content)
        answer = await _read(reader, known)
    finally:
        writer.close()
    if not answer.startswith(b"HTTP/1.1 200") or not WHOLE.search(answer):
        raise StreamError(f"a whole text is wanted, got {bytes(answer[:600])!r}")
    return known


async def _read(reader: asyncio.StreamReader, known: Stream) -> bytearray:
    answer = bytearray()
    while part := await reader.read(2**16):
        now = time.perf_counter()
        seen = max(len(answer) - len(EVENT) + 1, 0)  # an event's beginning may come in two parts
        answer += part
        known.events += [now] * answer.count(EVENT, seen)
        if not known.first and TEXT.search(answer):
            known.first = now
    known.ended = time.perf_counter()
    return answer
