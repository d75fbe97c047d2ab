"""Which pictures are on the gallery page, and what does the page have of each?"""

import inspect
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any, NamedTuple

from PIL import features

from gpt2.files.pretrained import GPT2
from gpt2.visual.capture import record
from gpt2.visual.gallery.one_file import data_url
from gpt2.visual.gallery.run import TrainingRun
from gpt2.visual.images import image_bytes
from gpt2.visual.pictures.attention import attention_maps
from gpt2.visual.pictures.embeddings import embedding_map
from gpt2.visual.pictures.flow import flow
from gpt2.visual.pictures.history import positions_history
from gpt2.visual.pictures.lens import lens
from gpt2.visual.pictures.loss import LossCurves, loss_curves
from gpt2.visual.pictures.next_tokens import next_tokens
from gpt2.visual.pictures.norms import stream_norms
from gpt2.visual.pictures.picture import Picture, plain
from gpt2.visual.pictures.position_similarity import position_similarity
from gpt2.visual.pictures.positions import position_curves
from gpt2.visual.pictures.tokens import surprisals
from gpt2.visual.pictures.weights import weights_window
from gpt2.visual.token_texts import token_ids

IMAGE = "webp" if features.check("webp") else "png"
PIXELS = 100  # an inch of a figure on the page


class Drawing(NamedTuple):
    """A picture that is not drawn yet."""

    name: str  # of its place on the page, #NAME
    flags: Sequence[str]  # of gpt2 plot
    measure: Callable[[], Picture]


def drawings(
    model: GPT2, model_name: str, text: str, run: TrainingRun | None = None
) -> Iterator[Drawing]:
    """Yield what there is to draw of a model, in the page's order; a picture is a line here.

    Args:
        model: Any GPT-2.
        model_name: As --model has it.
        text: What the pictures of a text show.
        run: How it was trained, if that is known.
    """
    of_model = ["--model", model_name]
    # With "=", a text that begins with a dash is no flag.
    of_text = [f"--text={text}"] if text.startswith("-") else ["--text", text]
    of_text += of_model
    recording = record(model, token_ids(model, text))

    yield Drawing("positions", ["positions", *of_model], lambda: position_curves(model))
    similarity = ["positions", "--similarity", *of_model]
    yield Drawing("similarity", similarity, lambda: position_similarity(model))
    yield Drawing("weights", ["weights", *of_model], lambda: weights_window(model))
    yield Drawing("attention", ["attention", *of_text], lambda: attention_maps(model, recording))
    yield Drawing("tokens", ["tokens", *of_text], lambda: surprisals(model, recording))
    yield Drawing("next", ["next", *of_text], lambda: next_tokens(model, recording))
    yield Drawing("lens", ["lens", *of_text], lambda: lens(model, recording))
    yield Drawing("embeddings", ["embeddings", *of_model], lambda: embedding_map(model))
    yield Drawing("norms", ["norms", *of_text], lambda: stream_norms(recording))
    yield Drawing("flow", ["flow", *of_text], lambda: flow(model, recording))
    if run is not None:
        yield from _drawings_of(run)


def _drawings_of(run: TrainingRun) -> Iterator[Drawing]:
    """Yield what there is to draw of a run: it may have no losses yet, or keep no moments."""
    if any(row.get("loss") is not None for row in run.rows):
        yield Drawing("loss", ["loss", run.directory], lambda: _loss_of(run))
    if run.moments:
        history = ["history", run.directory]
        yield Drawing("history", history, lambda: positions_history(run.moments))


def _loss_of(run: TrainingRun) -> LossCurves:
    name = Path(run.directory).resolve().name
    return loss_curves({name: run.rows}, bands={name: run.band})


def picture_entry(drawing: Drawing) -> dict[str, Any]:
    """Draw a picture, and return it as the page has it, in strict JSON."""
    picture = drawing.measure()
    figure = picture.figure()
    width, height = (round(inches * PIXELS) for inches in figure.get_size_inches())
    return {
        "name": drawing.name,
        "title": picture.title,
        "seen": picture.seen,
        "look_for": picture.look_for,
        "description": picture.description(),
        "command": shlex.join(["gpt2", "plot", *drawing.flags]),
        "code": [_quoted(function) for function in picture.code],
        "table": plain(picture.table()),
        "image": data_url(f"image/{IMAGE}", image_bytes(figure, IMAGE)),
        "width": width,
        "height": height,
    }


def _quoted(function: Callable[..., Any]) -> dict[str, str]:
    """Return the lines of a function, and where they are."""
    lines, first = inspect.getsourcelines(function)
    path = f"src/{function.__module__.replace('.', '/')}.py"
    return {"where": f"{path}:{first}", "source": dedent("".join(lines)).rstrip()}
