"""The batches of one part of a source, from any position on."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path

from gpt2.config import PrepareConfig
from gpt2.prepare.file_formats import Batch, read, read_texts
from gpt2.prepare.sources import Source


@dataclass(frozen=True, kw_only=True)
class SourcePosition:
    """How much of a source has been read: all files before `file`, and that one up to `offset`."""

    file: int = 0  # index into Source.files
    offset: int = 0  # rows of parquet, batches of other formats: `file_formats.Batch.end`


class PartReader:
    """Reads one part of a source.

    Parts are of about equal size. A row group of parquet, or a whole file of another kind, belongs
    to the part in which its first byte lies, so that the parts together are the source.

    Args:
        source: Its files, laid end to end, are what is divided.
        config: Which part, and how to read it.
    """

    def __init__(self, source: Source, config: PrepareConfig) -> None:
        self.source = source
        self.config = config
        self._starts = list(accumulate((file.bytes for file in source.files), initial=0))
        self._bytes = max(self._starts[-1], 1)

    def batches(self, start: SourcePosition) -> Iterator[tuple[SourcePosition, Batch]]:
        """Yield the batches after `start`, each with the position after it; fetch one file ahead.

        Raises:
            DataError: A file cannot be fetched or read.
        """
        files = self.source.files
        wanted = [k for k in range(start.file, len(files)) if self._overlaps_part(k)]
        fetcher = ThreadPoolExecutor(1)
        try:
            fetching = [fetcher.submit(files[k].fetch) for k in wanted[:1]]
            for k, following in zip(wanted, [*wanted[1:], None], strict=True):
                fetched = fetching.pop().result()
                if following is not None:
                    fetching.append(fetcher.submit(files[following].fetch))
                offset = start.offset if k == start.file else 0
                in_part = partial(self._in_part, k)
                if isinstance(fetched, Path):
                    batches = read(fetched, self.config, start=offset, in_part=in_part)
                else:
                    batches = read_texts(fetched, start=offset, in_part=in_part)
                for batch in batches:
                    yield SourcePosition(file=k, offset=batch.end), batch
        finally:  # not waiting for a download, when Ctrl-C ends this
            fetcher.shutdown(wait=False, cancel_futures=True)

    def share_done(self, position: SourcePosition, done: float) -> float:
        """Return how much of the part has been read, with the share `done` of the current file."""
        current = self.source.files[position.file : position.file + 1]
        read_bytes = self._starts[position.file] + done * sum(file.bytes for file in current)
        share = read_bytes / self._bytes * self.config.parts - self.config.part_number
        return min(1.0, max(0.0, share))

    def _overlaps_part(self, k: int) -> bool:
        """Return whether any byte of file k lies in this part."""
        first = self._starts[k] * self.config.parts // self._bytes
        last = max(first, (self._starts[k + 1] * self.config.parts - 1) // self._bytes)
        return first <= self.config.part_number <= last

    def _in_part(self, k: int, piece: int, pieces: int) -> bool:
        """Return whether the first byte of a piece of file k lies in this part."""
        # In units of 1 / pieces of a byte, so that all are whole numbers.
        first_byte = self._starts[k] * pieces + self.source.files[k].bytes * piece
        return first_byte * self.config.parts // (self._bytes * pieces) == self.config.part_number
