"""Animations: as many frames as figures, of one size, again and again."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from gpt2.visual.animation import LAST_FRAME, is_animation, write_animation
from gpt2.visual.style import new_figure


def bars(heights: list[float]) -> Figure:
    figure, axes = new_figure(2, 1.5)
    axes.bar(range(len(heights)), heights)
    axes.set_ylim(0, 3)
    return figure


@pytest.mark.parametrize("name", ["new/a.gif", "a.WebP"])
def test_each_figure_is_a_frame(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    write_animation((bars([1, height]) for height in (1, 2, 3)), path)
    with Image.open(path) as image:
        assert image.n_frames == 3  # type: ignore[attr-defined]
        assert image.info["loop"] == 0
        frames = []
        for number in range(3):
            image.seek(number)
            frames.append(image.convert("RGB"))
            image.load()
        assert image.info["duration"] == LAST_FRAME
    assert len({frame.tobytes() for frame in frames}) == 3


def test_one_figure_is_an_animation_too(tmp_path: Path) -> None:
    write_animation([bars([1])], tmp_path / "a.gif")
    assert (tmp_path / "a.gif").read_bytes().startswith(b"GIF89a")


@pytest.mark.parametrize(
    ("name", "expected"), [("a.gif", True), ("a.WEBP", True), ("a.png", False), ("gif", False)]
)
def test_the_ending_says_whether_an_image_moves(name: str, expected: bool) -> None:
    assert is_animation(Path(name)) == expected
