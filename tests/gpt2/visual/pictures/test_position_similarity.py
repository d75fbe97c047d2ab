import numpy as np
import pytest
import torch

from gpt2.files.pretrained import GPT2
from gpt2.visual.pictures.position_similarity import position_similarity


def _set_positions(model: GPT2, embeddings: torch.Tensor) -> None:
    model.wpe.weight.data = embeddings


def test_cosines_are_those_computed_by_hand(model: GPT2) -> None:
    _set_positions(model, torch.tensor([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0], [-1.0, 1.0]]))
    picture = position_similarity(model)
    half = 0.7071
    assert picture.cosines.tolist() == [
        [1.0, 1.0, 0.0, -half],
        [1.0, 1.0, 0.0, -half],
        [0.0, 0.0, 1.0, half],
        [-half, -half, half, 1.0],
    ]
    assert picture.distances == [1, 2]
    assert picture.mean_at_distance == [0.569, -0.3536]
    assert picture.table().rows[0] == (1, picture.mean_at_distance[0])


def test_the_image_has_the_cosines_and_positions_on_its_axes(model: GPT2) -> None:
    picture = position_similarity(model)
    axes = picture.figure().axes[0]
    image = axes.images[0]
    assert np.array_equal(image.get_array(), picture.cosines)  # type: ignore[arg-type]
    assert image.get_clim() == (-1, 1)
    assert image.get_extent() == [-0.5, 23.5, 23.5, -0.5]
    assert axes.get_aspect() == 1  # square cells


def test_many_positions_are_drawn_in_means(model: GPT2) -> None:
    embeddings = torch.randn(1024, 5, generator=torch.Generator().manual_seed(0)).double()
    _set_positions(model, embeddings)
    picture = position_similarity(model)
    directions = torch.nn.functional.normalize(embeddings)
    assert picture.cell == 2
    assert picture.cosines.shape == (512, 512)
    assert picture.cosines[3, 100] == pytest.approx(
        (directions[6:8] @ directions[200:202].T).mean().item(), abs=1e-4
    )


def test_positions_without_a_direction_are_like_no_other(model: GPT2) -> None:
    _set_positions(model, torch.zeros(3, 4))
    assert not position_similarity(model).cosines.any()


def test_one_position_has_no_neighbors(model: GPT2) -> None:
    _set_positions(model, torch.ones(1, 4))
    picture = position_similarity(model)
    assert (picture.distances, picture.cosines.tolist()) == ([], [[1.0]])
    assert picture.description() == "Cosine similarity of 1 positions."
    picture.figure()
