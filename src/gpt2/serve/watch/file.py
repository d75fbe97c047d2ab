"""How is the page of runs written as one file, which opens without network?"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gpt2.errors import CheckpointError
from gpt2.files.run_directory import list_moments
from gpt2.serve.watch.run import State
from gpt2.visual.gallery.one_file import one_file

PAGE = "watch/page.js"


def page_file(states: Mapping[str, State]) -> str:
    """Return the page of runs as one HTML document, with all that is known of them.

    Args:
        states: Of the runs, by id.
    """
    names = {number: (state["name"], state["directory"]) for number, state in states.items()}
    data: dict[str, Any] = {"page": page_data(names, live=False)}
    for number, state in states.items():
        data |= {f"run-{number}": state, f"history-{number}": history_of(state)}
    return one_file(PAGE, title_of(names), data)


def page_data(names: Mapping[str, tuple[str, Path | str]], *, live: bool) -> dict[str, Any]:
    """Return what the page begins with.

    Args:
        names: Name and directory of each run, by id.
        live: Whether a server sends what is new.
    """
    from gpt2.visual.gallery.colors import page_colors  # matplotlib's: half a second

    listed = [
        {"id": number, "name": name, "directory": str(run)} for number, (name, run) in names.items()
    ]
    return {"runs": listed, "colors": page_colors(), "live": live}


def title_of(names: Mapping[str, tuple[str, Path | str]]) -> str:
    """Return the title of the page of some runs."""
    return ", ".join(name for name, _ in names.values()) + ": training"


def history_of(state: State) -> dict[str, Any] | None:
    """Return the moments of a run as the gallery has them, without those that cannot be read.

    A moment may be removed while this reads, as when a run resumes from a step before it.
    """
    from gpt2.visual.gallery.run import run_history
    from gpt2.visual.moments import Moment, read_moment

    moments: list[Moment] = []
    for path in list_moments(Path(state["directory"])):
        with suppress(CheckpointError):
            moments.append(read_moment(path))
    return run_history(moments, [*state["rows"], *state["held_out"]])
