from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from gpt2.visual import figures


@pytest.mark.parametrize("count", [1, 3, 70])
def test_an_attention_map_takes_any_tokens(tmp_path: Path, count: int) -> None:
    weights = torch.ones(count, count).tril()
    tokens = ["$x_", "\n\t\r\0", "é日"] * 24
    figures.draw_attention(weights, tokens[:count], tmp_path / "new" / "map.png", title="map")
    assert (tmp_path / "new" / "map.png").stat().st_size > 1000


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
