from pathlib import Path

import numpy as np
from matplotlib.image import imread

from gpt2.visual import figures


def test_the_loss_is_drawn_with_or_without_evaluations_and_references(tmp_path: Path) -> None:
    rows = [{"step": i, "loss": 1 / i} for i in range(1, 9)]
    figures.draw_loss(rows, tmp_path / "plain.png")
    figures.draw_loss(
        [*rows, {"step": 8, "val_loss": 0.4}], tmp_path / "full.png", references={"unigram": 0.5}
    )
    plain, full = (imread(tmp_path / name) for name in ("plain.png", "full.png"))
    assert not np.array_equal(plain, full)


def test_the_band_of_like_runs_is_shaded(tmp_path: Path) -> None:
    rows = [{"step": i, "val_loss": 1 / i} for i in range(1, 9)]
    figures.draw_loss(rows, tmp_path / "plain.png")
    figures.draw_loss(rows, tmp_path / "shaded.png", band=[(2, 0.4, 0.6), (8, 0.1, 0.2)])
    plain, shaded = (imread(tmp_path / name) for name in ("plain.png", "shaded.png"))
    assert not np.array_equal(plain, shaded)
