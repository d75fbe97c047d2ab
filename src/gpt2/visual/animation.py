"""A series of figures as one animated image file."""

import io
from collections.abc import Iterable
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from gpt2.visual.images import image_bytes
from llm_tokenizer.atomic import write_whole

ANIMATED = ("gif", "webp")  # endings
FRAME, LAST_FRAME = 500, 2500  # milliseconds


def is_animation(path: Path) -> bool:
    """Return whether the end of a name is that of an animated image."""
    return path.suffix.removeprefix(".").lower() in ANIMATED


def write_animation(figures: Iterable[Figure], path: Path) -> None:
    """Write figures of one size as an animation that starts again at its end, atomically.

    Args:
        figures: At least one, drawn one after the other.
        path: File to write; its ending, .gif or .webp, is the format.
    """
    frames = [_image(figure) for figure in figures]
    animation = io.BytesIO()
    frames[0].save(
        animation,
        format=path.suffix.removeprefix("."),
        save_all=True,
        append_images=frames[1:],
        duration=[FRAME] * (len(frames) - 1) + [LAST_FRAME],
        loop=0,  # for ever
        **({"lossless": True} if path.suffix.lower() == ".webp" else {}),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, animation.getvalue())


def _image(figure: Figure) -> Image.Image:
    return Image.open(io.BytesIO(image_bytes(figure, "png"))).convert("RGB")
