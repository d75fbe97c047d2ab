"""Which pictures are on the gallery page, and what does the page have of each?"""

import inspect
import shlex
from collections.abc import Callable, Iterator, Sequence
from textwrap import dedent
from typing import Any

from PIL import features

from gpt2.files.pretrained import GPT2
from gpt2.visual.images import image_bytes
from gpt2.visual.one_file import data_url
from gpt2.visual.pictures.picture import Picture
from gpt2.visual.pictures.positions import position_curves

IMAGE = "webp" if features.check("webp") else "png"
PIXELS = 100  # an inch of a figure on the page

Drawing = tuple[Sequence[str], Callable[[], Picture]]  # flags of gpt2 plot, and what they draw


def drawings(model: GPT2, text: str) -> Iterator[Drawing]:
    """Yield what there is to draw of a model, in the page's order; a picture is a line here."""
    yield ["positions"], lambda: position_curves(model)


def picture_entry(flags: Sequence[str], picture: Picture, model_name: str) -> dict[str, Any]:
    """Return a picture as the page shows it, in strict JSON.

    Args:
        flags: Of gpt2 plot, without the model's.
        picture: What they draw.
        model_name: As --model has it.
    """
    figure, table = picture.figure(), picture.table()
    width, height = (round(inches * PIXELS) for inches in figure.get_size_inches())
    return {
        "name": "-".join(flag.removeprefix("--") for flag in flags if flag.isascii()),
        "title": picture.title,
        "seen": picture.seen,
        "look_for": picture.look_for,
        "description": picture.description(),
        "command": shlex.join(["gpt2", "plot", *flags, "--model", model_name]),
        "code": [_quoted(function) for function in picture.code],
        "table": {"columns": list(table.columns), "rows": [list(row) for row in table.rows]},
        "image": data_url(f"image/{IMAGE}", image_bytes(figure, IMAGE)),
        "width": width,
        "height": height,
    }


def _quoted(function: Callable[..., Any]) -> dict[str, str]:
    """Return the lines of a function, and where they are."""
    lines, first = inspect.getsourcelines(function)
    path = f"src/{function.__module__.replace('.', '/')}.py"
    return {"where": f"{path}:{first}", "source": dedent("".join(lines)).rstrip()}
