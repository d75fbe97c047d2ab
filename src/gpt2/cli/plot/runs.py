"""`gpt2 plot loss | history`: pictures of training runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from gpt2.cli.plot.flags import ImageFlags
from gpt2.config.checks import check
from gpt2.errors import DataError, InputError

if TYPE_CHECKING:
    from gpt2.visual.pictures.history import History as HistoryPicture

Over = Literal["steps", "tokens", "hours"]


@dataclass(frozen=True, kw_only=True)
class Loss(ImageFlags):
    """Training and held-out loss of one run or several, by steps, tokens or hours."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run directories."""
    over: Over = "steps"
    """What the horizontal axis counts; hours are of training, without evaluations."""
    log: bool = False
    """Let the horizontal axis be logarithmic, which shows the beginning."""
    references: tuple[str, ...] = ()
    """Losses to compare with, NAME=NATS: "GPT-2 124M=3.29"."""

    def run(self) -> None:
        """Draw the figure and print its path."""
        path = self.image("loss")
        from gpt2.config import SETTINGS_FILE
        from gpt2.files.run_directory import run_names
        from gpt2.train.normality.verdict import judge
        from gpt2.visual.pictures.loss import loss_curves

        references = parse_references(self.references)
        names = run_names(self.runs)
        rows = {name: _rows(run) for name, run in names.items()}
        judged = {n: judge(run) for n, run in names.items() if (run / SETTINGS_FILE).exists()}
        picture = loss_curves(
            rows,
            self.over,
            references=references,
            bands={name: verdict.band for name, verdict in judged.items()},
            logarithmic=self.log,
        )
        self.write(picture, path)


def parse_references(texts: Sequence[str]) -> dict[str, float]:
    """Read all of --references.

    Raises:
        InputError: One has another form, or a name is there twice.
    """
    references: dict[str, float] = {}
    for name, nats in map(parse_reference, texts):
        if name in references:
            raise InputError(f"--references must have each name once, got {name!r} twice")
        references[name] = nats
    return references


def parse_reference(text: str) -> tuple[str, float]:
    """Read NAME=NATS.

    >>> parse_reference("GPT-2 124M=3.29")
    ('GPT-2 124M', 3.29)

    Raises:
        InputError: It has another form.
    """
    name, _, number = text.rpartition("=")
    try:
        nats = float(number)
    except ValueError:
        nats = -1.0
    if not name or not 0 <= nats < float("inf"):
        raise InputError(f'--references must be NAME=NATS, such as "GPT-2=3.29", got {text!r}')
    return name, nats


@dataclass(frozen=True, kw_only=True)
class History(ImageFlags):
    """One picture across a run, as frames beside each other or as an animation."""

    run_directory: tyro.conf.Positional[Path]
    """A run directory. All pictures but that of the loss need moments: train with
    --history.moments 24."""
    picture: Literal["positions", "weights", "attention", "loss"] = "positions"
    """What to show: position embeddings, the first weights, attention of a head, or the loss."""
    block: int | None = None
    """Block whose attention to show, from 0 on; the first one if not given."""
    head: int | None = None
    """Head whose attention to show, from 0 on; the first one if not given."""
    out: Path | None = None
    """Image to write: .gif or .webp is an animation of all moments, .png, .svg and others have some
    of them beside each other; history.png if not given."""

    def __post_init__(self) -> None:
        asked = self.block if self.block is not None else self.head
        fits = self.picture == "attention" or asked is None
        check(fits, "--block and --head go with --picture attention", asked)

    def run(self) -> None:
        """Draw the figure and print its path."""
        path = self._path()
        from gpt2.visual.animation import is_animation, write_animation

        history = self._read()
        if path is None or not is_animation(path):
            self.write(history, path)
            return
        write_animation(map(history.frame, range(len(history.steps))), path)
        self.write(history, None) if self.json else print(path)

    def _path(self) -> Path | None:
        from gpt2.cli.output_path import require_free
        from gpt2.visual.animation import is_animation

        if self.out is None or not is_animation(self.out):
            return self.image("history")
        require_free(self.out, force=self.force)
        return self.out

    def _read(self) -> "HistoryPicture":
        from gpt2.visual.moments import read_moments
        from gpt2.visual.pictures import history

        if self.picture == "loss":
            return history.loss_history(_rows(self.run_directory))
        if not (moments := read_moments(self.run_directory)):
            raise DataError(
                f"{self.run_directory} holds no moments to draw; train with --history.moments 24, "
                "or draw --picture loss"
            )
        if self.picture == "positions":
            return history.positions_history(moments)
        if self.picture == "weights":
            return history.weights_history(moments)
        return history.attention_history(moments, self.block, self.head)


def _rows(run: Path) -> list[dict[str, Any]]:
    from gpt2.train.metrics import read_metrics

    if not (rows := read_metrics(run)):
        raise DataError(f"{run} holds no metrics.jsonl with rows to draw")
    return rows
