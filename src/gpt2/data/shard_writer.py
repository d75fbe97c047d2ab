"""Write tokens as shards so that a crash at any moment loses nothing that was committed.

What is being written lies in the folder `unfinished` inside the folder of the shards: a file for
each split that grows, and `state.json`, which says how much of it counts. A commit syncs the files,
then replaces the state, then moves the shards that are full to their place. A start after a crash
cuts the files to what the state says, and ends the moves.
"""

import hashlib
import json
import os
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gpt2.data.manifest import Shard
from gpt2.data.shards import HEADER_BYTES, SPLITS, Split, Tokens, header_of, read_shard
from gpt2.data.source_reader import Place
from gpt2.errors import DataError
from llm_tokenizer.text_files import sync, write_whole

UNFINISHED, STATE_FILE = "unfinished", "state.json"


@dataclass(kw_only=True)
class Begun:
    """The shard of a split that is not full yet."""

    tokens: int = 0
    documents: int = 0
    bytes: int = 0
    sha256: str = ""  # of the file up to here, when it was committed


@dataclass(kw_only=True)
class State:
    """How far the work has come: what a commit saves."""

    place: Place = field(default_factory=Place)  # of the source, up to which all has been written
    documents: int = 0  # that have been numbered
    last_split: Split = "train"  # of the document that came last
    val_full: bool = False  # what is drawn for val from now on goes to train
    skipped: dict[str, int] = field(default_factory=dict)
    shards: list[Shard] = field(default_factory=list)  # full ones, of both splits as they came
    begun: dict[Split, Begun] = field(default_factory=lambda: {split: Begun() for split in SPLITS})

    def of(self, split: Split) -> list[Shard]:
        """Return the full shards of one split."""
        return [shard for shard in self.shards if shard.split == split]

    def tokens(self, split: Split) -> int:
        """Return how many tokens one split has so far."""
        return sum(shard.tokens for shard in self.of(split)) + self.begun[split].tokens

    @classmethod
    def read(cls, directory: Path) -> "State":
        """Read the state of a folder of shards; a new one if none has been saved.

        Raises:
            DataError: The file is damaged.
        """
        path = directory / UNFINISHED / STATE_FILE
        try:
            entries: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            entries["place"] = Place(**entries["place"])
            entries["shards"] = [Shard(**row) for row in entries["shards"]]
            entries["begun"] = {split: Begun(**entries["begun"][split]) for split in SPLITS}
            return cls(**entries)
        except FileNotFoundError:
            return cls()
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path} is damaged ({error!r}); --force starts over") from None


class ShardWriter:
    """Appends tokens to the shards of both splits, and commits them with the state.

    Args:
        directory: Folder of the shards; its folder `unfinished` must exist.
        state: Where to go on; it is changed by appending.
        shard_tokens: Tokens that fill a shard.
    Raises:
        DataError: A file lacks tokens that the state counts, or is damaged.
    """

    def __init__(self, directory: Path, state: State, shard_tokens: int) -> None:
        self.directory = directory
        self.state = state
        self.shard_tokens = shard_tokens
        self._move_full()
        for shard in state.shards:
            read_shard(directory / shard.file)  # raises if it is missing or cut
        self._files = {split: self._open(split) for split in SPLITS}

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
            opens: Whether it begins a document, or goes on with one.
        """
        done = 0
        while done < len(tokens):
            begun = self.state.begun[split]
            part = tokens[done : done + self.shard_tokens - begun.tokens]
            first, last = np.searchsorted(starts, [done, done + len(part)])
            self._files[split].write(part)
            begun.tokens += len(part)
            begun.documents += int(np.count_nonzero(opens[first:last]))
            begun.bytes += int(sizes[first:last].sum())
            done += len(part)
            if begun.tokens == self.shard_tokens:
                self._fill(split)

    def commit(self) -> None:
        """Make everything that was appended so far survive a crash."""
        for split, file in self._files.items():
            file.sync()
            self.state.begun[split].sha256 = file.checksum()
        write_whole(self._path(STATE_FILE), json.dumps(asdict(self.state)).encode())
        self._move_full()

    def finish(self) -> None:
        """Make shards of what is left, less than full ones, and commit."""
        for split in SPLITS:
            if self.state.begun[split].tokens:
                self._fill(split)
        self.commit()
        self.close()

    def close(self) -> None:
        """Close the files, whatever is in them."""
        for file in self._files.values():
            with suppress(OSError):  # on a full disk, once more
                file.close()

    def _fill(self, split: Split) -> None:
        """End the shard of a split that is being written, and begin the next."""
        begun, file = self.state.begun[split], self._files[split]
        begun.sha256 = file.end(begun.tokens)
        self.state.shards.append(Shard(file=file.path.name, split=split, **asdict(begun)))
        self.state.begun[split] = Begun()
        self._files[split] = self._open(split)

    def _open(self, split: Split) -> "_GrowingFile":
        number = len(self.state.of(split))
        path = self._path(f"{split}_{number:06d}.bin")
        return _GrowingFile(path, self.shard_tokens, self.state.begun[split])

    def _move_full(self) -> None:
        """Move the shards that the state lists to their place, those that are not there yet."""
        waiting = [s.file for s in self.state.shards if self._path(s.file).exists()]
        for file in waiting:
            self._path(file).replace(self.directory / file)
        if waiting:
            sync(self.directory)

    def _path(self, name: str) -> Path:
        return self.directory / UNFINISHED / name


class _GrowingFile:
    """A shard that is being written, and the checksum of it so far."""

    def __init__(self, path: Path, shard_tokens: int, begun: Begun) -> None:
        """Begin a shard, or go on with one that was begun."""
        self.path = path
        tokens = begun.tokens
        self._header = header_of(shard_tokens)
        self._checksum = hashlib.sha256(self._header)
        size = HEADER_BYTES + 2 * tokens
        if tokens and (not path.exists() or path.stat().st_size < size):
            raise DataError(f"{path} lacks tokens that were written to it; --force starts over")
        self._file = path.open("r+b" if tokens else "w+b")
        self._file.write(self._header)
        for place in range(0, 2 * tokens, 2**24):
            self._checksum.update(self._file.read(min(2**24, 2 * tokens - place)))
        if tokens and self.checksum() != begun.sha256:
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

    def end(self, tokens: int) -> str:
        """Complete a shard of so many tokens, sync and close it, and return its checksum."""
        header = header_of(tokens)
        if header != self._header:  # the last shard of a split: its length was not known before
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
