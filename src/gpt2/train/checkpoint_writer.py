"""Checkpoints written in the background during training, one at a time."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

from gpt2.config import CheckpointConfig
from gpt2.errors import CheckpointError
from gpt2.files.checkpoint import Snapshot, begin_checkpoint, write_checkpoint
from gpt2.files.run_directory import list_checkpoints, prune_checkpoints
from gpt2.progress import log


class CheckpointWriter:
    """Writes the snapshots of a run in a thread.

    A failure, such as a full disk, is logged and does not end the run: the next one is tried. The
    thread is a daemon, so that a second Ctrl-C need not wait for it; what it leaves is no
    checkpoint, since a checkpoint gets its name last.
    """

    def __init__(self, run: Path, config: CheckpointConfig) -> None:
        self.run = run
        self.config = config
        self._thread: Thread | None = None
        self._error: BaseException | None = None

    def save(self, snapshot: Snapshot) -> None:
        """Wait until the one before is written, and begin to write this one."""
        self.wait()
        self._error = None
        with suppress(OSError):  # the thread meets it, too, and logs it
            begin_checkpoint(self.run, snapshot.state.step)
        self._thread = Thread(target=self._write, args=(snapshot,), daemon=True)
        self._thread.start()

    def wait(self) -> CheckpointError | None:
        """Wait until nothing is being written, and return what went wrong with the last one."""
        if self._thread is not None:
            # To its very end: a daemon thread that still frees tensors when the process ends would
            # abort it.
            self._thread.join()
        if self._error is None or isinstance(self._error, CheckpointError):
            return self._error
        raise self._error

    def _write(self, snapshot: Snapshot) -> None:
        try:
            write_checkpoint(self.run, snapshot)
            state = snapshot.state
            if not state.skipped:  # else the run may have to go back to one before
                best = state.best_step if self.config.keep_best else None
                prune_checkpoints(self.run, self.config.keep_last, best)
        except BaseException as error:
            self._error = error
            log(str(error))  # now, and not when the next one is due


@contextmanager
def checkpoint_writer(run: Path, config: CheckpointConfig) -> Iterator[CheckpointWriter]:
    """Write checkpoints in the background while the context lasts; at its end, all are written.

    Raises:
        CheckpointError: The last one could not be written.
    """
    writer = CheckpointWriter(run, config)
    try:
        yield writer
    finally:
        error = writer.wait()
    if error:
        saved = list_checkpoints(run)
        after = f"after {saved[-1].name}" if saved else "from step 1, as none was saved"
        raise CheckpointError(
            f"{error}; make room, and continue {after} with: gpt2 train --resume {run}"
        )
