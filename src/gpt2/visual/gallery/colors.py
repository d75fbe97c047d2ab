"""Which colors do the pages have? Those of the pictures, by kind of data."""

from typing import Any

from gpt2.visual import style

COLOR_MAPS = {
    "weights": style.WEIGHTS,
    "attention": style.ATTENTION,
    "surprisal": style.SURPRISAL,
    "probability": style.PROBABILITY,
    "signed": style.SIGNED,
}
# Lengths of strokes and gaps, in widths of the line, by matplotlib's name.
STROKES = {"-": (), "--": (3.7, 1.6), "-.": (6.4, 1.6, 1, 1.6), ":": (1, 1.65)}


def page_colors() -> dict[str, Any]:
    """Return the colors of the pictures, by kind of data."""
    maps = {kind: style.colors_of(name) for kind, name in COLOR_MAPS.items()}
    dashes = [STROKES[dash] if isinstance(dash, str) else dash[1] for dash in style.DASHES]
    return {**maps, "series": style.SERIES, "dashes": dashes}
