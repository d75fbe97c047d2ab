from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from gpt2.errors import InputError
from gpt2.visual import figures


def test_position_channels_are_four_and_chosen_by_the_seed(tmp_path: Path) -> None:
    embeddings = torch.randn(32, 100)
    chosen = figures.draw_positions(embeddings, tmp_path / "a.png", seed=1)
    assert len(set(chosen)) == 4
    assert figures.draw_positions(embeddings, tmp_path / "a.png", seed=1) == chosen
    assert figures.draw_positions(embeddings, tmp_path / "a.png", seed=2) != chosen


def test_a_weight_image_shows_300_rows_and_columns_and_no_more(tmp_path: Path) -> None:
    inside, outside = torch.randn(350, 400), torch.randn(350, 400)
    outside[:300, :300] = inside[:300, :300]
    for name, weights in (("inside", inside), ("outside", outside), ("other", inside + 1)):
        figures.draw_weights(weights, tmp_path / f"{name}.png", name="c_attn")
    pictures = {name: imread(tmp_path / f"{name}.png") for name in ("inside", "outside", "other")}
    assert np.array_equal(pictures["inside"], pictures["outside"])
    assert not np.array_equal(pictures["inside"], pictures["other"])


@pytest.mark.parametrize("name", ["picture", "picture.xyz"])
def test_a_file_that_is_no_image_is_refused_with_those_that_are(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="an image must end in one of .*png"):
        figures.draw_positions(torch.zeros(4, 4), tmp_path / name)
    assert not list(tmp_path.iterdir())


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
