"""What does evaluations.jsonl say of a run so far?"""

from pathlib import Path

from gpt2.errors import CheckpointError
from gpt2.evaluate.results import EVALUATIONS_FILE
from gpt2.serve.watch.rows import strict
from gpt2.serve.watch.tail import Tail
from gpt2.train.evaluations import check_evaluation, last_of_each
from gpt2.train.metrics import Row, parse_row


class Evaluations:
    """The evaluations of a finished model; of one that was repeated, the last.

    Args:
        run: The run directory.
    """

    def __init__(self, run: Path) -> None:
        self.rows: list[Row] = []
        self._tail = Tail(run / EVALUATIONS_FILE)
        self._faults: list[str] = []  # the last one

    def look(self) -> None:
        """Take the new rows."""
        content, is_new = self._tail.look()
        if is_new:
            self.rows, self._faults = [], []
        for line in content.splitlines():
            try:
                self.rows = last_of_each([*self.rows, _parse_evaluation(line)])
            except CheckpointError as error:
                self._faults = [f"{EVALUATIONS_FILE}: {error}; it is left out"]

    def notes(self) -> list[str]:
        """Return what is wrong with the file."""
        return self._tail.faults + self._faults


def _parse_evaluation(line: bytes) -> Row:
    row = parse_row(line)
    if row is None or type(row.get("evaluation")) is not str:
        raise CheckpointError("a line is no evaluation")
    check_evaluation(row, "a line")
    return strict(row)
