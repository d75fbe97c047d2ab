"""What is known of a run that may still train, and what is new in it since the last look?"""

from contextlib import suppress
from pathlib import Path
from typing import Any

from gpt2.config import SETTINGS_FILE
from gpt2.files.run_directory import CHECKPOINTS, MOMENTS
from gpt2.serve.watch.evaluations import Evaluations
from gpt2.serve.watch.folders import Folders
from gpt2.serve.watch.metrics import Metrics, best_step
from gpt2.serve.watch.points import shown
from gpt2.serve.watch.settings import Settings, settings_of
from gpt2.serve.watch.status import Course, status_of
from gpt2.serve.watch.tail import signature_of
from gpt2.train.metrics import METRICS_FILE

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
        self._metrics = Metrics(run)
        self._settings = Settings(run)
        self._evaluations = Evaluations(run)
        self._folders = Folders(run)
        self._looked_at = self._news_at = float("-inf")  # seconds since 1970
        self._parts: dict[str, Any] = {}  # of the state, all but the rows

    def state(self) -> State:
        """Return all that is known, in strict JSON, as the page reads it."""
        head = {"name": self.name, "directory": str(self.run)}
        return head | {"rows": self._metrics.points.to_rows()} | self._parts

    def look(self, now: float) -> list[Event]:
        """Return what has changed since the last look: all of it, new rows, or parts of the state.

        Args:
            now: Seconds since 1970.
        """
        steps, is_new = self._metrics.look()
        has_other_settings = self._settings.look()
        has_other_files = self._folders.look(best_step(self._metrics.held_out))
        self._evaluations.look()
        if steps or is_new or has_other_settings or has_other_files:
            self._news_at = now if now - self._looked_at < LATELY else min(now, _newest(self.run))
        self._looked_at = now
        before, self._parts = self._parts, self._known(now)
        if is_new or not before or len(steps) > MOST_ROWS:
            return [{"kind": "all", "state": self.state()}]
        events: list[Event] = [
            {"kind": "part", "part": name, "value": value}
            for name, value in self._parts.items()
            if before[name] != value
        ]
        rows = [{"kind": "rows", "rows": [shown(row) for row in steps]}] if steps else []
        return rows + events

    def _known(self, now: float) -> dict[str, Any]:
        """Return the parts of the state, of which none changes later."""
        metrics, settings, folders = self._metrics, self._settings, self._folders
        notes = metrics.notes() + settings.faults + self._evaluations.notes() + folders.faults
        return {
            "checkpoints": folders.checkpoints,
            "moments": folders.moments,
            "settings": settings_of(settings.config),
            "band": settings.band(metrics.held_out),  # first: beside it, a loss is judged
            "held_out": list(metrics.held_out),
            "evaluations": self._evaluations.rows,
            "skipped": list(metrics.skipped),
            "changes": list(metrics.changes),
            "notes": notes,
            "status": status_of(self._course(now)),
        }

    def _course(self, now: float) -> Course:
        return Course(
            config=self._settings.config,
            late=list(self._metrics.late),
            held_out=self._metrics.held_out,
            has_report=self._folders.has_report,
            silent_seconds=max(0.0, now - self._news_at),
            just_started=self._metrics.just_started,
        )


def _newest(run: Path) -> float:
    """Return when a file or folder of a run changed last, by the clock of its disk."""
    newest = 0.0
    for name in (METRICS_FILE, SETTINGS_FILE, CHECKPOINTS, MOMENTS):
        with suppress(OSError):
            found = signature_of(run / name)
            newest = max(newest, found[2] / 1e9 if found else 0.0)
    return newest
