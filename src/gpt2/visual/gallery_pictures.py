"""Which pictures are on the gallery page, and what does the page have of each?"""

import inspect
import shlex
from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from textwrap import dedent
from typing import Any

from PIL import features

from gpt2.files.pretrained import GPT2
from gpt2.visual.capture import record
from gpt2.visual.images import image_bytes
from gpt2.visual.one_file import data_url
from gpt2.visual.pictures.attention import attention_maps
from gpt2.visual.pictures.embeddings import embedding_map
from gpt2.visual.pictures.flow import flow
from gpt2.visual.pictures.lens import lens
from gpt2.visual.pictures.next_tokens import next_tokens
from gpt2.visual.pictures.norms import stream_norms
from gpt2.visual.pictures.picture import Picture
from gpt2.visual.pictures.position_similarity import position_similarity
from gpt2.visual.pictures.positions import position_curves
from gpt2.visual.pictures.tokens import surprisals
from gpt2.visual.pictures.weights import weights_window
from gpt2.visual.token_texts import token_ids

IMAGE = "webp" if features.check("webp") else "png"
PIXELS = 100  # an inch of a figure on the page

Drawing = tuple[
    Sequence[str], Callable[[], Picture]
]  # flags of gpt2 plot, --text last, and their picture


def drawings(model: GPT2, text: str) -> Iterator[Drawing]:
    """Yield what there is to draw of a model, in the page's order; a picture is a line here.

    Args:
        model: Any GPT-2.
        text: What the pictures of a text show.
    """
    of_text = ["--text", text]
    recording = record(model, token_ids(model, text))
    yield ["positions"], lambda: position_curves(model)
    yield ["positions", "--similarity"], lambda: position_similarity(model)
    yield ["weights"], lambda: weights_window(model)
    yield ["attention", *of_text], lambda: attention_maps(model, recording)
    yield ["tokens", *of_text], lambda: surprisals(model, recording)
    yield ["next", *of_text], lambda: next_tokens(model, recording)
    yield ["lens", *of_text], lambda: lens(model, recording)
    yield ["embeddings"], lambda: embedding_map(model)
    yield ["norms", *of_text], lambda: stream_norms(recording)
    yield ["flow", *of_text], lambda: flow(model, recording)


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
        "name": "-".join(word.removeprefix("--") for word in takewhile("--text".__ne__, flags)),
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
