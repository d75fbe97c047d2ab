"""gallery.html: the page of a run, written when it ends."""

from pathlib import Path

import torch

from gpt2.config import SETTINGS_FILE
from gpt2.files.pretrained import GPT2
from gpt2.progress import log
from gpt2.train.metrics import read_metrics
from gpt2.train.normality.verdict import judge
from gpt2.visual.gallery.page import write_gallery
from gpt2.visual.gallery.run import TrainingRun
from gpt2.visual.moments import read_moments

PAGE_FILE = "gallery.html"


def write_page(run: Path) -> None:
    """Write the page of a run into its directory.

    What goes wrong, such as a full disk, is logged: the run is trained and saved without its page.
    """
    path = run / PAGE_FILE
    try:
        model = GPT2.from_pretrained(run, dtype=torch.float32)
        write_gallery(model, path, name=str(run), run=training_of(run))
    except Exception as error:
        reason = " ".join(str(error).split())
        log(f"could not write {path}: {reason}; try again with: gpt2 gallery --model {run}")


def training_of(run: Path) -> TrainingRun:
    """Return how a run was trained, as its page shows it.

    Raises:
        CheckpointError: Its metrics or a moment are damaged.
    """
    band = judge(run).band if (run / SETTINGS_FILE).exists() else ()
    return TrainingRun(str(run), read_moments(run), read_metrics(run), band)
