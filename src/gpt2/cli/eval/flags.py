"""What all evaluations of a model have in common: their flags, progress, output and resumption."""

import dataclasses
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gpt2.cli.model_flags import ModelFlags
from gpt2.errors import ConfigError

if TYPE_CHECKING:
    from gpt2.evaluate.data_files import DataFile
    from gpt2.evaluate.measure import KeptRows, Measure, Show
    from gpt2.evaluate.results import Result
    from gpt2.evaluate.scoring import Scorer
    from gpt2.progress import Display

Work = Callable[["Scorer", "Measure"], "Result"]

SECONDS_OF_PATIENCE = 2.0
COMPILING = "tokenizing; at its first use on a machine the tokenizer is compiled, some 15 s"
NO_MATTER = ("json", "resume", "memory")  # flags that do not change what is measured


@dataclass(frozen=True, kw_only=True)
class EvaluationFlags(ModelFlags):
    """Which model is measured, and how."""

    memory: float | None = None
    """GB that a pass may take beside the weights; if not given, a size that suits the device."""
    json: bool = False
    """Print one JSON object, null where a figure is not finite."""
    resume: bool = False
    """Go on from the rows that an interrupted start of the same command has finished."""

    def __post_init__(self) -> None:
        if self.memory is not None and not 0 < self.memory < 2**20:
            raise ConfigError(f"memory must be above 0 GB, got {self.memory}")

    def measured(
        self, name: str, data: "Sequence[DataFile]", work: Work, *, unit: str = "rows"
    ) -> None:
        """Measure the model, print what is found, and add it to the run that the model is of.

        Args:
            name: Of the evaluation.
            data: The files that it reads.
            work: The evaluation.
            unit: What progress is counted in.
        Raises:
            Gpt2Error: There is no such model, or it cannot be measured on these data.
        """
        from gpt2.evaluate.measure import measure

        directory, scorer = self.opened()
        started = time.perf_counter()
        with self.kept(name, directory, data) as kept, shown(unit) as show:
            result = work(scorer, partial(measure, kept=kept, show=show))
        self.publish(result, directory, data, started)

    def opened(self) -> "tuple[Path, Scorer]":
        """Return the directory of the model, and what scores texts by it.

        Raises:
            Gpt2Error: There is no such model.
        """
        from gpt2.devices import keep_freed_memory
        from gpt2.evaluate.scoring import Scorer
        from gpt2.files.names import locate

        keep_freed_memory()
        directory = locate(self.model).absolute()  # as "." it has no name
        memory = None if self.memory is None else int(self.memory * 1e9)
        # Not by its name once more: a run may have saved another checkpoint meanwhile.
        model = dataclasses.replace(self, model=str(directory)).load()
        return directory, Scorer(model, memory=memory)

    def publish(
        self, result: "Result", directory: Path, data: "Sequence[DataFile]", started: float
    ) -> None:
        """Print what is found, and add it to the run that the model is of.

        Args:
            result: What is found.
            directory: Of the model, absolute.
            data: As for `measured`.
            started: When the work began, by time.perf_counter.
        """
        from gpt2.evaluate.results import append_result
        from gpt2.files.run_directory import run_of, step_of
        from gpt2.train.report import add_evaluations

        seconds = round(time.perf_counter() - started, 3)
        files = [[file.name, file.checksum] for file in data]
        about = {"model": self.model, "data": files, "seconds": seconds}
        row = result.to_row() | about
        if run := run_of(directory):
            row["step"] = step_of(directory)
        try:
            print(json.dumps(row, allow_nan=False) if self.json else result.to_text())
        finally:  # what took long is kept although stdout is closed, and printed before it is
            if run:
                append_result(run, row)
                add_evaluations(run)

    @contextmanager
    def kept(
        self, name: str, directory: Path, data: "Sequence[DataFile]"
    ) -> "Iterator[KeptRows | None]":
        """Keep the rows that are done while the context lasts, if the disk takes them.

        Args: As for `measured`.
        """
        from huggingface_hub import constants

        from gpt2.evaluate.measure import KeptRows
        from gpt2.progress import log

        flags = {k: v for k, v in dataclasses.asdict(self).items() if k not in NO_MATTER}
        identity = {
            "evaluation": name,
            "directory": str(directory.resolve()),
            "changed": max(p.stat().st_mtime_ns for p in directory.iterdir() if p.exists()),
            "flags": repr(flags),
            "data": repr([file.checksum for file in data]),
        }
        digest = hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
        folder = Path(constants.HF_HOME) / "gpt2-from-scratch" / "evaluations"
        try:
            kept = KeptRows(folder / f"{digest}.jsonl", identity, resume=self.resume)
        except OSError as error:
            if self.resume:
                raise
            log(f"cannot write to {folder}, so --resume will not work: {error.strerror}")
            yield None
            return
        if self.resume:
            log(f"going on after {len(kept.rows):,} that were done before")
        with kept:
            try:
                yield kept
            except KeyboardInterrupt:
                log(f"stopped; {len(kept.rows):,} are done: the same command with --resume goes on")
                raise


@contextmanager
def shown(unit: str) -> "Iterator[Show]":
    """Show on stderr how far an evaluation is, and that tokenizing takes long if it does."""
    from gpt2.progress import display, log

    notice = threading.Timer(SECONDS_OF_PATIENCE, log, [COMPILING])
    notice.daemon = True
    notice.start()
    started = time.perf_counter()
    before = 0.0  # what an earlier start has done
    progress: Display | None = None
    try:
        with ExitStack() as stack:

            def show(done: float, total: float) -> None:
                nonlocal started, before, progress
                notice.cancel()
                if progress is None:
                    started, before = time.perf_counter(), done
                    shares = display(1.0, "{:.0%}".format, done=done / max(total, 1))
                    progress = stack.enter_context(shares)
                    return
                seconds = max(time.perf_counter() - started, 1e-9)
                pace = (done - before) / seconds
                text = f"{done:,.0f} of {total:,.0f} {unit}, {pace:,.1f} {unit}/s"
                progress.update(done / total, text, seconds)

            yield show
    finally:
        notice.cancel()
