"""The batches of a source, or of one part of it, from any place on."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path

from gpt2.config import PrepareConfig
from gpt2.data.readers import Batch, read, read_texts
from gpt2.data.sources import Source


@dataclass(frozen=True, kw_only=True)
class Place:
    """How much of a source has been read: some inputs, and of the next up to a position."""

    input: int = 0
    position: int = 0  # in a file, `readers.Batch.end`


class SourceReader:
    """Reads a part of a source.

    Parts are of about equal size. A row group of parquet, or a whole file of another kind, belongs
    to the part in which its first byte lies, so that the parts together are the source.

    Args:
        source: Its inputs, laid end to end, are what is divided.
        config: Which part, and how to read it.
    """

    def __init__(self, source: Source, config: PrepareConfig) -> None:
        self.source = source
        self.config = config
        self._starts = list(accumulate((one.bytes for one in source.inputs), initial=0))
        self._bytes = max(self._starts[-1], 1)

    def batches(self, place: Place) -> Iterator[tuple[Place, Batch]]:
        """Give the batches after a place, each with the place after it; fetch a file ahead.

        Raises:
            DataError: A file cannot be fetched or read.
        """
        left = [k for k in range(place.input, len(self.source.inputs)) if self._has_mine(k)]
        ahead = ThreadPoolExecutor(1)
        try:
            fetching = [ahead.submit(self.source.inputs[k].fetch) for k in left[:1]]
            for k, following in zip(left, [*left[1:], None], strict=True):
                fetched = fetching.pop().result()
                if following is not None:
                    fetching.append(ahead.submit(self.source.inputs[following].fetch))
                start = place.position if k == place.input else 0
                mine = partial(self._is_mine, k)
                if isinstance(fetched, Path):
                    batches = read(fetched, self.config, start=start, mine=mine)
                else:
                    batches = read_texts(fetched, start=start, mine=mine)
                for batch in batches:
                    yield Place(input=k, position=batch.end), batch
        finally:  # not waiting for a download, when Ctrl-C ends this
            ahead.shutdown(wait=False, cancel_futures=True)

    def share_done(self, place: Place, done: float) -> float:
        """Return how much of the part has been read, with the share `done` of the current input."""
        current = self.source.inputs[place.input : place.input + 1]
        read_bytes = self._starts[place.input] + done * sum(one.bytes for one in current)
        share = read_bytes / self._bytes * self.config.parts - self.config.part_number
        return min(1.0, max(0.0, share))

    def _has_mine(self, k: int) -> bool:
        """Say if any byte of an input lies in this part."""
        first = self._starts[k] * self.config.parts // self._bytes
        last = max(first, (self._starts[k + 1] * self.config.parts - 1) // self._bytes)
        return first <= self.config.part_number <= last

    def _is_mine(self, k: int, piece: int, pieces: int) -> bool:
        """Say if the first byte of a piece of an input lies in this part."""
        place = self._starts[k] * pieces + self.source.inputs[k].bytes * piece  # bytes * pieces
        return place * self.config.parts // (self._bytes * pieces) == self.config.part_number
