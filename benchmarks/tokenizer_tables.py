"""How long do several calls take, each in its turn, and how is that printed?"""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

Call = Callable[[], object]


def seconds(call: Call) -> float:
    """Return how long a call takes, what it returns given back to the system."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turn(calls: Mapping[str, Call], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each call in each round; rounds go forth and back alternately."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        for name in list(calls)[:: -1 if number % 2 else 1]:
            times[name].append(seconds(calls[name]))
    return times


def ours_by_fastest(speeds: Mapping[str, Sequence[float]]) -> str:
    """Return the median over rounds of our speed by the fastest peer's, and that peer.

    Args:
        speeds: Of each, a number a round; ours first. The fastest has the highest median.
    """
    ours, *others = speeds
    fastest = max(others, key=lambda name: statistics.median(speeds[name]))
    pairs = zip(speeds[ours], speeds[fastest], strict=True)
    return f"{statistics.median(our / other for our, other in pairs):.2f} {fastest.split()[0]}"


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows as a table of Markdown, the first as its head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in [rows[0], ["-" * width for width in widths], *rows[1:]]:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(f"| {' | '.join(cells)} |")
    print(flush=True)
