"""Whatever happens to a run's files, a page that takes the events knows what a new one would."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gpt2.serve.watch.run import RunWatch

NOW = 4e9  # seconds since 1970: later than any file is written


class Files:
    """The files of a run, and what may happen to them."""

    def __init__(self, run: Path) -> None:
        self.metrics = run / "metrics.jsonl"
        self.rows: list[str] = []
        self.count = 0  # of all rows ever: no two are alike, as their times differ

    def append(self, size: int) -> None:
        """Append a row, of which the end may still lack."""
        self.count += 1
        step = len(self.rows) + 1
        row: dict[str, Any] = {"step": step, "loss": self.count}
        if self.count % 3 == 0:
            row = {"step": step, "val_loss": self.count}
        elif self.count % 5 == 0:
            row |= {"loss": None, "skipped": True}
        line = "{damaged\n" if self.count % 7 == 0 else json.dumps(row) + "\n"
        self.rows.append(line)
        with self.metrics.open("a") as file:
            file.write(line[: len(line) - size])
            file.flush()

    def finish(self) -> None:
        """Write the end of the last row."""
        if self.metrics.exists():
            self.replace(len(self.rows), cut=True)

    def replace(self, kept: int, *, cut: bool = False) -> None:
        """Keep some of the rows, in the same file or in another."""
        self.rows = self.rows[:kept]
        partial = self.metrics.with_suffix(".partial")
        target = self.metrics if cut else partial
        target.write_text("".join(self.rows))
        target.replace(self.metrics)

    def remove(self) -> None:
        """Remove the file."""
        self.metrics.unlink(missing_ok=True)
        self.rows = []


class Page:
    """What a page knows, from the events alone."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def take(self, events: list[dict[str, Any]]) -> None:
        """Take events as web/watch/runs.js does."""
        for event in json.loads(json.dumps(events, allow_nan=False)):
            if event["kind"] == "all":
                self.state = event["state"]
            elif event["kind"] == "rows":
                self.state["rows"] += event["rows"]
            else:
                self.state[event["part"]] = event["value"]


append = st.tuples(st.just("append"), st.integers(0, 12))
changes = st.lists(
    st.one_of(
        *(append, append, append),  # the most frequent change
        st.tuples(st.just("finish")),
        st.tuples(st.just("replace"), st.integers(0, 6)),
        st.tuples(st.just("remove")),
    ),
    min_size=8,
    max_size=30,
)


@settings(max_examples=60)
@given(changes=changes, looks=st.lists(st.booleans(), min_size=30, max_size=30))
def test_a_page_that_takes_the_events_knows_what_a_new_one_would(
    changes: list[Any], looks: list[bool]
) -> None:
    with TemporaryDirectory() as directory:
        run, page = Path(directory), Page()
        files, watch = Files(run), RunWatch(run, "run")
        for (name, *args), is_seen in zip(changes, looks, strict=False):
            if name == "append":
                files.finish()
            getattr(files, name)(*args)
            if is_seen:
                page.take(watch.look(NOW))
        page.take(watch.look(NOW))
        new = Page()
        new.take(RunWatch(run, "run").look(NOW))
        without_time = [{**known.state, "status": None} for known in (page, new)]
        without_empty = [_without_unknown(state) for state in without_time]
        assert without_empty[0] == without_empty[1]


def _without_unknown(state: dict[str, Any]) -> dict[str, Any]:
    """A point has None for a figure that its row lacks."""
    rows = [
        {k: v for k, v in row.items() if v is not None and k != "skipped"} for row in state["rows"]
    ]
    return {**state, "rows": rows}
