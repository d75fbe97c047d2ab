"""What is known of a run that may still train, and what is new in it since the last look?"""

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gpt2.config import SETTINGS_FILE, RunConfig
from gpt2.errors import CheckpointError, ConfigError
from gpt2.evaluate.results import EVALUATIONS_FILE
from gpt2.files.run_directory import CHECKPOINTS, MOMENTS, REPORT_FILE
from gpt2.serve.watch.folders import Checkpoints, moments_of
from gpt2.serve.watch.points import Points, shown
from gpt2.serve.watch.rows import parse_lines, strict
from gpt2.serve.watch.settings import settings_of
from gpt2.serve.watch.status import LATE_STEPS, Course, status_of
from gpt2.serve.watch.tail import Tail, signature_of
from gpt2.train.evaluations import check_evaluation, last_of_each
from gpt2.train.metrics import METRICS_FILE, Row, parse_row
from gpt2.train.normality.data_facts import source_of
from gpt2.train.normality.nearest_recipe import Match, match_recipe
from gpt2.train.normality.verdict import known_band

MOST_ROWS = 500  # new steps of an event; of more, all is sent
LATELY = 5.0  # seconds after a look in which what is new has just come

State = dict[str, Any]
Event = dict[str, Any]


class RunWatch:
    """Follows a run by its files. It writes nothing, takes no lock, and may not be used by two
    threads at once.

    Args:
        run: The run directory; it need not be there yet.
        name: As the page has it.
    """

    def __init__(self, run: Path, name: str) -> None:
        self.run = run
        self.name = name
        self._tails = {name: Tail(run / name) for name in (METRICS_FILE, EVALUATIONS_FILE)}
        self._settings_signature: Any = "unread"
        self._config: RunConfig | None = None
        self._match: Match | None = None
        self._checkpoints = Checkpoints(run)
        self._looked_at = self._news_at = float("-inf")  # seconds since 1970
        self._faults: dict[str, str] = {}  # by file: what is wrong with it
        self._parts: dict[str, Any] = {}
        self._evaluations: list[Row] = []
        self._has_report = False
        self._forget_rows()

    def _forget_rows(self) -> None:
        self._points = Points()
        self._late: deque[Row] = deque(maxlen=LATE_STEPS)
        self._held_out: list[Row] = []
        self._skipped: list[int] = []
        self._changes: list[Row] = []
        self._damaged = 0
        self._just_started = False

    def state(self) -> State:
        """Return all that is known, in strict JSON, as the page reads it."""
        head = {"name": self.name, "directory": str(self.run), "rows": self._points.to_rows()}
        return head | self._parts

    def look(self, now: float) -> list[Event]:
        """Return what has changed since the last look: all of it, new rows, or parts of the state.

        Args:
            now: Seconds since 1970.
        """
        steps, is_new = self._read_metrics()
        settings_changed = self._read_settings()
        self._read_evaluations()
        folders = self._read_folders()
        changed = any(self._parts.get(name) != value for name, value in folders.items())
        if steps or is_new or settings_changed or changed:
            self._news_at = now if now - self._looked_at < LATELY else min(now, self._newest())
        self._looked_at = now
        before, self._parts = (
            self._parts,
            {
                **folders,
                "settings": settings_of(self._config) if self._config else {},
                "held_out": list(self._held_out),
                "band": self._band(),
                "evaluations": list(self._evaluations),
                "skipped": list(self._skipped),
                "changes": list(self._changes),
                "notes": self._notes(),
                "status": status_of(self._course(now)),
            },
        )
        if is_new or not before or len(steps) > MOST_ROWS:
            return [{"kind": "all", "state": self.state()}]
        events: list[Event] = [
            {"kind": "part", "part": name, "value": value}
            for name, value in self._parts.items()
            if before[name] != value
        ]
        rows = [{"kind": "rows", "rows": [shown(row) for row in steps]}] if steps else []
        return rows + events

    def _read_metrics(self) -> tuple[list[Row], bool]:
        """Take the new rows, and return the steps among them, and whether older ones are gone."""
        content, is_new = self._appended(METRICS_FILE)
        if is_new:
            self._forget_rows()
        rows, damaged = parse_lines(content)
        self._damaged += damaged
        steps = [row for row in rows if "loss" in row]
        self._points.add(steps)
        self._late.extend(steps[-LATE_STEPS:])
        self._held_out += [strict(row) for row in rows if "val_loss" in row]
        self._skipped += [row["step"] for row in steps if row.get("skipped")]
        self._changes += [strict(row) for row in rows if "changed" in row]
        if is_new or steps:
            self._just_started = is_new
        return steps, is_new

    def _read_settings(self) -> bool:
        """Read the settings if their file has changed, and return whether it has."""
        path = self.run / SETTINGS_FILE
        try:
            signature: Any = signature_of(path)
        except OSError as error:
            signature = str(error)
        if signature == self._settings_signature:
            return False
        self._settings_signature = signature
        self._config = self._match = None
        self._faults.pop(SETTINGS_FILE, None)
        if signature is not None:
            try:
                self._config = RunConfig.from_toml(path)
                self._match = match_recipe(self._config, source_of(self._config))
            except (ConfigError, OSError) as error:
                self._faults[SETTINGS_FILE] = str(error)
        return True

    def _read_evaluations(self) -> None:
        content, is_new = self._appended(EVALUATIONS_FILE)
        if is_new:
            self._evaluations = []
            self._faults.pop(EVALUATIONS_FILE, None)
        for line in content.splitlines():
            row = parse_row(line)
            try:
                if row is None or type(row.get("evaluation")) is not str:
                    raise CheckpointError("a line is no evaluation")
                check_evaluation(row, "a line")
                self._evaluations = last_of_each([*self._evaluations, strict(row)])
            except CheckpointError as error:
                self._faults[EVALUATIONS_FILE] = f"{EVALUATIONS_FILE}: {error}; it is left out"

    def _read_folders(self) -> dict[str, Any]:
        """Return what is in the folders of the run; what was there while they cannot be read."""
        try:
            self._has_report = (self.run / REPORT_FILE).exists()
            checkpoints = self._checkpoints.look(best_step(self._held_out))
            found = {"checkpoints": checkpoints, "moments": moments_of(self.run)}
        except OSError as error:
            self._faults["folders"] = f"{self.run} cannot be read: {error.strerror}"
            return {name: self._parts.get(name, []) for name in ("checkpoints", "moments")}
        self._faults.pop("folders", None)
        return found

    def _appended(self, name: str) -> tuple[bytes, bool]:
        """Return what is new in a file; nothing while it cannot be read, which is noted."""
        where = f"reading {name}"
        try:
            appended = self._tails[name].look()
        except OSError as error:
            self._faults[where] = f"{name} cannot be read: {error.strerror}"
            return b"", False
        self._faults.pop(where, None)
        return appended

    def _band(self) -> list[list[float]]:
        """Return the known range of the held-out loss at the evaluations: step, low, high."""
        if self._match is None or self._config is None:
            return []
        steps = self._config.training.steps
        evaluated = [row["step"] for row in self._held_out if row["val_loss"] is not None]
        return [list(each) for each in known_band(self._match, steps, evaluated)]

    def _notes(self) -> list[str]:
        notes = list(self._faults.values())
        if self._damaged:
            lines = "a line is" if self._damaged == 1 else f"{self._damaged} lines are"
            notes.append(f"{METRICS_FILE}: {lines} damaged and left out")
        return notes

    def _course(self, now: float) -> Course:
        return Course(
            config=self._config,
            late=list(self._late),
            held_out=self._held_out,
            has_report=self._has_report,
            silent_seconds=max(0.0, now - self._news_at),
            just_started=self._just_started,
        )

    def _newest(self) -> float:
        """Return when a file or folder of the run changed last, by the clock of its disk."""
        names = (METRICS_FILE, SETTINGS_FILE, CHECKPOINTS, MOMENTS)
        newest = 0.0
        for name in names:
            with suppress(OSError):
                found = signature_of(self.run / name)
                newest = max(newest, found[2] / 1e9 if found else 0.0)
        return newest


def best_step(held_out: Sequence[Row]) -> int | None:
    """Return the step of the lowest held-out loss, the first of equal ones; None before any."""
    finite = [row for row in held_out if row["val_loss"] is not None]
    return min(finite, key=lambda row: row["val_loss"])["step"] if finite else None
