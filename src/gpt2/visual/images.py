"""A figure as an image file."""

import io
from pathlib import Path
from typing import Any

from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure

from gpt2.errors import InputError
from gpt2.visual.style import styled
from llm_tokenizer.atomic import write_whole

NO_PICTURES = ("pgf", "raw", "rgba")  # matplotlib's formats that need TeX, or have no size in them
OPTIONS: dict[str, Any] = {
    "svg": {"metadata": {"Date": None}},  # the same picture is the same file
    "webp": {"pil_kwargs": {"lossless": True}},  # of drawings smaller than with losses, and exact
}


def write_image(figure: Figure, path: Path) -> None:
    """Write a figure, atomically, in the format that the end of the name says."""
    image = image_bytes(figure, require_image(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, image)


def image_bytes(figure: Figure, kind: str) -> bytes:
    """Return a figure as the bytes of an image file, such as "png", "svg" or "webp"."""
    image = io.BytesIO()
    with styled():
        figure.savefig(image, format=kind, **OPTIONS.get(kind, {}))
    return image.getvalue()


def require_image(path: Path) -> str:
    """Return the format of an image, by the end of its name.

    Raises:
        InputError: There is no such format.
    """
    known = [k for k in FigureCanvasBase.get_supported_filetypes() if k not in NO_PICTURES]
    suffix = path.suffix.removeprefix(".").lower()
    if suffix not in known:
        raise InputError(f"an image must end in one of {', '.join(known)}, got {str(path)!r}")
    return suffix
