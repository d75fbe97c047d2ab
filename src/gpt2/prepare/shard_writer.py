"""Write tokens as shards so that a crash at any moment loses nothing that was committed.

What is being written lies in the folder `unfinished` inside the folder of the shards: one growing
file per split, and `state.json`, which records how many of its tokens are committed. A commit syncs
the files, then replaces the state, then moves the full shards to the folder above. A start after a
crash cuts the files to what the state records, and completes the moves.
"""

import hashlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gpt2.data.manifest import UNFINISHED, Shard, check_shard
from gpt2.data.shards import HEADER_BYTES, SPLITS, Split, Tokens, header_of, read_shard
from gpt2.errors import DataError
from gpt2.from_json import from_json, read_regular
from gpt2.prepare.part_reader import SourcePosition
from llm_tokenizer.atomic import sync, write_whole

STATE_FILE = "state.json"  # in the folder UNFINISHED


@dataclass(kw_only=True)
class OpenShard:
    """What the shard of a split holds that is not full yet."""

    tokens: int = 0
    documents: int = 0
    bytes: int = 0
    sha256: str = ""  # of the file as of the last commit


@dataclass(kw_only=True)
class WriterState:
    """How far the work has come: what a commit saves."""

    position: SourcePosition = field(default_factory=SourcePosition)  # all before it is written
    documents: int = 0  # of both splits together
    last_split: Split = "train"  # of the last document
    val_full: bool = False  # from now on, documents drawn for val go to train
    skipped: dict[str, int] = field(default_factory=dict)
    shards: list[Shard] = field(default_factory=list)  # full ones of both splits, oldest first
    open: dict[Split, OpenShard] = field(
        default_factory=lambda: {split: OpenShard() for split in SPLITS}
    )

    def of(self, split: Split) -> list[Shard]:
        """Return the full shards of one split."""
        return [shard for shard in self.shards if shard.split == split]

    def tokens(self, split: Split) -> int:
        """Return how many tokens one split has so far."""
        return sum(shard.tokens for shard in self.of(split)) + self.open[split].tokens

    @classmethod
    def read(cls, directory: Path) -> "WriterState":
        """Read the state of a folder of shards; a new one if none has been saved.

        Raises:
            DataError: The file is damaged.
        """
        path = directory / UNFINISHED / STATE_FILE
        try:
            state = from_json(cls, json.loads(read_regular(path)))
            for k, shard in enumerate(state.shards):
                check_shard(shard, f"shards.{k}")
            if state.open.keys() != {*SPLITS}:
                raise ValueError(f"open must have {' and '.join(SPLITS)}")
            return state
        except FileNotFoundError:
            return cls()
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{path} is damaged ({error}); --force starts over") from None


class ShardWriter:
    """Appends tokens to the shards of both splits, and commits them with the state.

    Args:
        directory: Folder of the shards; its folder `unfinished` must exist.
        state: Where to continue; appending changes it.
        shard_tokens: Tokens that fill a shard.
    Raises:
        DataError: A file lacks tokens that the state counts, or is damaged.
    """

    def __init__(self, directory: Path, state: WriterState, shard_tokens: int) -> None:
        self.directory = directory
        self.state = state
        self.shard_tokens = shard_tokens
        self._move_full()
        for shard in state.shards:
            read_shard(directory / shard.file)  # raises if it is missing or cut
        self._files = {split: self._open_file(split) for split in SPLITS}

    def append(
        self,
        split: Split,
        tokens: Tokens,
        starts: npt.NDArray[np.int64],
        sizes: npt.NDArray[np.int64],
        opens: npt.NDArray[np.bool_],
    ) -> None:
        """Append the tokens of one or more texts to a split.

        Args:
            split: Which split.
            tokens: Those of all texts.
            starts: Where in `tokens` each text begins.
            sizes: Bytes of each text.
            opens: Whether each text begins a document; otherwise it continues the last one.
        """
        done = 0
        while done < len(tokens):
            shard = self.state.open[split]
            part = tokens[done : done + self.shard_tokens - shard.tokens]
            first, last = np.searchsorted(starts, [done, done + len(part)])
            self._files[split].write(part)
            shard.tokens += len(part)
            shard.documents += int(np.count_nonzero(opens[first:last]))
            shard.bytes += int(sizes[first:last].sum())
            done += len(part)
            if shard.tokens == self.shard_tokens:
                self._complete(split)

    def commit(self) -> None:
        """Make everything that was appended so far survive a crash."""
        for split, file in self._files.items():
            file.sync()
            self.state.open[split].sha256 = file.checksum()
        write_whole(self._path(STATE_FILE), json.dumps(asdict(self.state)).encode())
        self._move_full()

    def finish(self) -> None:
        """Complete the open shards as they are, shorter than full ones, and commit."""
        for split in SPLITS:
            if self.state.open[split].tokens:
                self._complete(split)
        self.commit()
        self.close()

    def close(self) -> None:
        """Close the files, whatever is in them."""
        for file in self._files.values():
            with suppress(OSError):  # on a full disk, once more
                file.close()

    def _complete(self, split: Split) -> None:
        """Complete the open shard of a split, and open the next."""
        shard, file = self.state.open[split], self._files[split]
        shard.sha256 = file.complete(shard.tokens)
        self.state.shards.append(Shard(file=file.path.name, split=split, **asdict(shard)))
        self.state.open[split] = OpenShard()
        self._files[split] = self._open_file(split)

    def _open_file(self, split: Split) -> "_GrowingFile":
        number = len(self.state.of(split))
        path = self._path(f"{split}_{number:06d}.bin")
        return _GrowingFile(path, self.shard_tokens, self.state.open[split])

    def _move_full(self) -> None:
        """Move the full shards that still lie in `unfinished` to the folder of the shards."""
        waiting = [s.file for s in self.state.shards if self._path(s.file).exists()]
        for file in waiting:
            self._path(file).replace(self.directory / file)
        if waiting:
            sync(self.directory)

    def _path(self, name: str) -> Path:
        return self.directory / UNFINISHED / name


class _GrowingFile:
    """A shard that is being written, and the checksum of it so far."""

    def __init__(self, path: Path, shard_tokens: int, shard: OpenShard) -> None:
        """Create the file, or continue one that holds the tokens of `shard`."""
        self.path = path
        tokens = shard.tokens
        self._header = header_of(shard_tokens)
        self._checksum = hashlib.sha256(self._header)
        size = HEADER_BYTES + 2 * tokens
        if tokens >= shard_tokens:
            raise DataError(f"{path} has more tokens than a shard; --force starts over")
        if tokens and (not path.exists() or path.stat().st_size < size):
            raise DataError(f"{path} lacks tokens that were written to it; --force starts over")
        self._file = path.open("r+b" if tokens else "w+b")
        self._file.write(self._header)
        for first in range(0, 2 * tokens, 2**24):
            self._checksum.update(self._file.read(min(2**24, 2 * tokens - first)))
        if tokens and self.checksum() != shard.sha256:
            self._file.close()
            raise DataError(f"{path} is damaged: its checksum is another; --force starts over")
        self._file.seek(size)
        self._file.truncate()

    def write(self, tokens: Tokens) -> None:
        content = np.ascontiguousarray(tokens, "<u2").data
        self._file.write(content)
        self._checksum.update(content)

    def checksum(self) -> str:
        """Return the checksum of what was written."""
        return self._checksum.hexdigest()

    def complete(self, tokens: int) -> str:
        """Complete the shard, which holds `tokens` tokens; sync, close, return its checksum."""
        header = header_of(tokens)
        if header != self._header:  # the last shard of a split is shorter
            self._file.seek(0)
            self._file.write(header)
            self._file.seek(0)
            self._checksum = hashlib.sha256()
            while block := self._file.read(2**24):
                self._checksum.update(block)
        self.sync()
        self.close()
        return self.checksum()

    def sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def remove_unfinished(directory: Path) -> None:
    """Remove the folder `unfinished` of a folder of shards, if there is one."""
    shutil.rmtree(directory / UNFINISHED, ignore_errors=True)
