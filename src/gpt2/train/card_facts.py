"""What the files of a run hold about one of its checkpoints, for the card of the model."""

from dataclasses import dataclass
from pathlib import Path
from statistics import median

from gpt2.config import RunConfig
from gpt2.data.manifest import Manifest, fingerprint_of, read_manifest
from gpt2.data.verification import part_folders
from gpt2.errors import DataError
from gpt2.files.run_directory import REPORT_FILE, run_of
from gpt2.files.training_state import SavedState, read_saved_state
from gpt2.progress import log
from gpt2.train.evaluations import read_evaluations
from gpt2.train.metrics import Row, read_metrics
from gpt2.train.normality.verdict import judge
from gpt2.visual.images import image_bytes
from gpt2.visual.pictures.loss import LossCurves, loss_curves

HARDWARE = "| hardware | "  # the beginning of a row of the report


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What is known of the training of a checkpoint; nothing is measured anew."""

    state: SavedState
    config: RunConfig
    rows: list[Row]  # of metrics, up to the checkpoint
    evaluations: list[Row]  # of the checkpoint
    manifests: list[Manifest]  # of the data it was trained on; none: unknown
    hardware: str | None  # that the run ended on
    curves: LossCurves | None

    @property
    def train_tokens(self) -> int:
        """Tokens that the run reads in an epoch; 0: unknown."""
        tokens = sum(shard.tokens for each in self.manifests for shard in each.of("train"))
        return min(tokens, self.config.data.train_tokens or tokens)

    @property
    def skipped(self) -> int:
        """Steps that changed no weight, as they were not finite."""
        return sum("skipped" in row for row in self.rows)

    @property
    def last_evaluation(self) -> Row | None:
        """The row of metrics with the held-out loss of the checkpoint; None if there is none."""
        step = self.state.step
        return next(
            (row for row in reversed(self.rows) if row["step"] == step and "val_loss" in row),
            None,
        )

    @property
    def mfu(self) -> float | None:
        """The median share of the device's peak that the steps had; None: unknown."""
        known = [row["mfu"] for row in self.rows if row.get("mfu") is not None]
        return median(known) if known else None

    def picture(self) -> bytes | None:
        """Return the loss curves up to the checkpoint as a PNG; None if there are none."""
        return image_bytes(self.curves.figure(), "png") if self.curves else None


def read_card_facts(checkpoint: Path) -> CardFacts:
    """Read what is known of a checkpoint of a run.

    Raises:
        CheckpointError, ConfigError: A file of the run is damaged, or of another version of this
            program.
    """
    run = run_of(checkpoint)
    assert run is not None, "only a checkpoint of a run has a training"
    state = read_saved_state(checkpoint)
    config = RunConfig.from_sections(state.settings, str(checkpoint))
    rows = [row for row in read_metrics(run) if row["step"] <= state.step]
    return CardFacts(
        state=state,
        config=config,
        rows=rows,
        evaluations=[row for row in read_evaluations(run) if row["step"] == state.step],
        manifests=_manifests(config.data.directory, state.data_fingerprint),
        hardware=_hardware(run),
        curves=_curves(run, rows, state.step),
    )


def _manifests(directory: Path, fingerprint: str) -> list[Manifest]:
    """Return the manifests of a run's data, one a part; none if they are gone, or others."""
    try:
        parts = part_folders(directory)
        manifests = [read_manifest(folder) for folder in parts or [directory]]
    except DataError as error:
        log(f"the card says nothing of the data: {error}")
        return []
    each = [manifest.fingerprint for manifest in manifests]
    if (fingerprint_of(each) if parts else each[0]) != fingerprint:
        log(f"the card says nothing of the data: {directory} holds others than the run has read")
        return []
    return manifests


def _hardware(run: Path) -> str | None:
    """Return the hardware of a run as its report has it: a card may be written elsewhere."""
    try:
        report = (run / REPORT_FILE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = (line for line in report.splitlines() if line.startswith(HARDWARE))
    line = next(found, None)
    return line.removeprefix(HARDWARE).removesuffix(" |") if line else None


def _curves(run: Path, rows: list[Row], step: int) -> LossCurves | None:
    if not any(row.get("loss") is not None for row in rows):
        return None
    band = [place for place in judge(run).band if place[0] <= step]
    return loss_curves({"run": rows}, bands={"run": band})
