"""Which checkpoints, moments and report does a run have now? They may come and go at any time."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from gpt2.files.run_directory import (
    CHECKPOINT_NAMES,
    CHECKPOINTS,
    REPORT_FILE,
    has_all_files,
    list_checkpoints,
    list_moments,
    step_of,
)
from llm_tokenizer.atomic import PARTIAL


class Folders:
    """What lies in the folders of a run; while they cannot be read, what was there before.

    Args:
        run: The run directory.
    """

    def __init__(self, run: Path) -> None:
        self.run = run
        self.checkpoints: list[dict[str, Any]] = []
        self.moments: list[int] = []  # steps
        self.has_report = False
        self.faults: list[str] = []  # why they cannot be read
        self._known: dict[Path, tuple[int, dict[str, Any]]] = {}  # by path: when, and what

    def look(self, best_step: int | None) -> bool:
        """Look into the folders, and return whether checkpoints or moments have changed.

        Args:
            best_step: Of the lowest held-out loss so far.
        """
        before = self.checkpoints, self.moments
        try:
            self.has_report = (self.run / REPORT_FILE).exists()
            found = self._list_checkpoints(best_step), _moments(self.run)
        except OSError as error:
            self.faults = [f"{self.run} cannot be read: {error.strerror}"]
            return False
        (self.checkpoints, self.moments), self.faults = found, []
        return found != before

    def _list_checkpoints(self, best_step: int | None) -> list[dict[str, Any]]:
        """Return the checkpoints by step, each looked into once unless it changes.

        The one that is being written comes last.
        """
        known = {}
        for path in list_checkpoints(self.run):
            with suppress(FileNotFoundError):  # pruned a moment ago
                known[path] = self._described(path)
        self._known = known
        found = [described for _, described in known.values()]
        last = found[-1]["step"] if found else 0
        partial = map(_partial, sorted((self.run / CHECKPOINTS).glob(CHECKPOINT_NAMES + PARTIAL)))
        # One of an earlier step is being removed.
        found += [each for each in partial if each["step"] > last]
        return [each | {"is_best": each["step"] == best_step} for each in found]

    def _described(self, path: Path) -> tuple[int, dict[str, Any]]:
        changed = path.stat().st_mtime_ns
        if path in self._known and self._known[path][0] == changed:
            return self._known[path]
        is_complete = has_all_files(path)
        described = {"step": step_of(path), "bytes": _bytes(path), "is_complete": is_complete}
        # What is not complete may be on its way, as where it is copied from another machine.
        return changed if is_complete else -1, described


def _moments(run: Path) -> list[int]:
    return [step_of(path.with_suffix("")) for path in list_moments(run)]


def _partial(path: Path) -> dict[str, Any]:
    step = step_of(path.with_name(path.name.removesuffix(PARTIAL)))
    return {"step": step, "bytes": _bytes(path), "is_complete": False}


def _bytes(path: Path) -> int:
    """Return the size of the files in a folder, as far as they are there."""
    total = 0
    with suppress(OSError):
        for file in path.iterdir():
            with suppress(OSError):
                total += file.stat().st_size
    return total
