"""Which rows do the lines of metrics.jsonl hold? Of very many lines, a sample is read."""

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from gpt2.errors import CheckpointError
from gpt2.train.metrics import Row, check_figures, parse_row

MOST_BYTES = 16 * 2**20  # some 60,000 steps, which take a fifth of a second; of more, a sample
PIECES, PIECE_BYTES = 2000, 4096  # of the sample: evenly spaced, and each of some 18 steps
LAST_BYTES = 2**16  # of it, which are read whole
ALL_KEPT = (b'"val_loss"', b'"skipped"', b'"changed"')  # rows with one of these are never left out
AT_ONCE = 1000  # lines


class Parsed(NamedTuple):
    """What some lines hold."""

    rows: list[Row]  # in order
    damaged: int  # lines that hold no row


def parse_lines(content: bytes) -> Parsed:
    """Return the rows of whole lines; those that are damaged are counted and left out."""
    lines = (content if len(content) <= MOST_BYTES else sample(content)).splitlines()
    rows = [row for at in range(0, len(lines), AT_ONCE) for row in _rows(lines[at : at + AT_ONCE])]
    return Parsed(rows, len(lines) - len(rows))


def sample(content: bytes) -> bytes:
    """Return some of very many lines: evenly spaced steps, the last ones, and all ALL_KEPT.

    So a run of 600,000 steps is seen in less than a second.
    """
    starts = [i * len(content) // PIECES for i in range(PIECES)]
    pieces = [(_line_start(content, at), _line_end(content, at + PIECE_BYTES)) for at in starts]
    pieces.append((_line_start(content, len(content) - LAST_BYTES), len(content)))
    for mark in ALL_KEPT:
        pieces += [(_line_start(content, at), _line_end(content, at)) for at in _all(content, mark)]
    # Pieces of whole lines overlap by whole lines: each begins where the one before has ended.
    pieces.sort()
    ends = [0]
    for _, end in pieces:
        ends.append(max(ends[-1], end))
    return b"".join(
        content[max(start, before) : end]
        for (start, end), before in zip(pieces, ends, strict=False)
    )


def strict(value: Any) -> Any:
    """Return JSON with None for numbers that are not finite, at any depth: 1e999 may be there.

    >>> strict({"a": [1, float("inf")]})
    {'a': [1, None]}
    """
    if isinstance(value, dict):
        return {key: strict(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [strict(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _rows(lines: list[bytes]) -> Iterator[Row]:
    """Yield the rows of some lines, which are parsed at once unless one is damaged."""
    try:
        rows = json.loads(b"[" + b",".join(lines) + b"]", parse_constant=_refuse)
        is_whole = len(rows) == len(lines) and all(map(_is_row, rows))
    except ValueError:
        is_whole = False
    yield from rows if is_whole else filter(_is_row, map(parse_row, lines))


def _is_row(row: Row | None) -> bool:
    if not isinstance(row, dict) or type(row.get("step")) is not int:
        return False
    try:
        check_figures(row, "")
    except CheckpointError:
        return False
    return True


def _refuse(constant: str) -> None:
    """Have a number that is not finite parsed by itself."""
    raise ValueError(constant)


def _all(content: bytes, mark: bytes) -> Iterable[int]:
    """Yield where a text is."""
    at = content.find(mark)
    while at >= 0:
        yield at
        at = content.find(mark, at + 1)


def _line_start(content: bytes, at: int) -> int:
    return content.rfind(b"\n", 0, at) + 1


def _line_end(content: bytes, at: int) -> int:
    """Return where the line of a place ends, its end included."""
    end = content.find(b"\n", at)
    return len(content) if end < 0 else end + 1
