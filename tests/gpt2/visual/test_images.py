from pathlib import Path

import pytest
from matplotlib.figure import Figure

from gpt2.errors import InputError
from gpt2.visual.images import image_bytes, write_image


@pytest.mark.parametrize("name", ["picture", "picture.xyz", "a.pgf", "a.raw", "a.rgba"])
def test_a_file_that_is_no_image_is_refused_with_those_that_are(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="an image must end in one of .*png"):
        write_image(Figure(), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_an_image_is_written_into_a_new_folder(tmp_path: Path) -> None:
    write_image(Figure(), tmp_path / "new" / "a.png")
    assert (tmp_path / "new" / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_figure_makes_the_same_svg_each_time() -> None:
    def drawn() -> bytes:
        figure = Figure()
        figure.add_subplot().plot([1, 2])
        return image_bytes(figure, "svg")

    assert drawn() == drawn()
