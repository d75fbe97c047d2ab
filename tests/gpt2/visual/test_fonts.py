import pytest

from gpt2.visual.fonts import MONOSPACE, drawable, families
from gpt2.visual.style import ink_on


def test_pictures_are_in_a_font_that_comes_with_matplotlib() -> None:
    from matplotlib import font_manager

    assert families()[0] == "DejaVu Sans"
    assert MONOSPACE in font_manager.get_font_names()


@pytest.mark.parametrize("text", ["naïve", "日\n", " x_1 $"])
def test_a_character_that_no_font_has_is_escaped(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpt2.visual.fonts._has_glyph", str.isascii)
    assert drawable(text) == text.encode("ascii", "backslashreplace").decode()


def test_characters_of_an_installed_font_are_drawn() -> None:
    assert drawable("naïve λ ␣ …") == "naïve λ ␣ …"


@pytest.mark.parametrize(
    ("color", "ink"),
    [
        ((0.0, 0.0, 0.0), "white"),
        ((1.0, 1.0, 1.0), "black"),
        ((0.4, 0.0, 0.0), "white"),
        ((0.0, 1.0, 0.0, 1.0), "black"),  # green is light, and opacity does not count
        ((0.0, 0.0, 1.0), "white"),  # blue is dark
    ],
)
def test_letters_are_black_on_light_colors_and_white_on_dark_ones(
    color: tuple[float, ...], ink: str
) -> None:
    assert ink_on(color) == ink
