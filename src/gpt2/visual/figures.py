"""Pictures of a model and of a run. Each function draws one figure and saves it as an image."""

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure
from torch import Tensor

from gpt2.errors import InputError
from llm_tokenizer.atomic import write_whole

MOST_LABELS = 60  # tokens along an axis beyond which their texts would overlap


def draw_attention(weights: Tensor, tokens: Sequence[str], path: Path, *, title: str) -> None:
    """Draw an attention map: a row a token, and where in its past it looks.

    Args:
        weights: Attention weights, (T, T).
        tokens: The T tokens' texts.
        path: Image to write.
        title: Of the figure.
    """
    side = max(4.0, min(14.0, 0.25 * len(tokens)))
    figure, axes = _figure(side + 1, side)
    image = axes.imshow(weights.numpy(), cmap="viridis", vmin=0, vmax=1)
    if len(tokens) <= MOST_LABELS:
        labels = [_label(token) for token in tokens]
        axes.set_xticks(range(len(tokens)), labels, rotation=90, fontsize=8)
        axes.set_yticks(range(len(tokens)), labels, fontsize=8)
    axes.set(title=title, xlabel="token attended to", ylabel="token that attends")
    figure.colorbar(image)
    _save(figure, path)


def draw_loss(
    rows: Sequence[dict[str, Any]],
    path: Path,
    *,
    references: dict[str, float] | None = None,
    band: Sequence[tuple[int, float, float]] = (),
) -> None:
    """Draw the loss of a run over its steps.

    Args:
        rows: Rows of metrics.jsonl.
        path: Image to write.
        references: Horizontal lines, by label, in nats a token.
        band: Steps, and between which losses the held-out loss of like runs is there.
    """
    figure, axes = _figure(8, 4.5)
    steps = [row for row in rows if row.get("loss") is not None]  # null where it was not finite
    evaluations = [row for row in rows if row.get("val_loss") is not None]
    axes.plot(
        [r["step"] for r in steps], [r["loss"] for r in steps], linewidth=0.7, label="training"
    )
    axes.plot(
        [r["step"] for r in evaluations],
        [r["val_loss"] for r in evaluations],
        marker="o",
        markersize=3,
        label="held out",
    )
    if band:
        steps_of_band, low, high = zip(*band, strict=True)
        axes.fill_between(
            steps_of_band, low, high, color="C1", alpha=0.2, label="held out, like runs"
        )
    for number, (label, value) in enumerate((references or {}).items()):
        style = ("--", ":", "-.")[number % 3]
        axes.axhline(value, linestyle=style, color="gray", label=label)
    axes.set(title="Loss", xlabel="step", ylabel="nats a token")
    axes.legend()
    _save(figure, path)


def _label(token: str) -> str:
    """Return a token's text for an axis: a dollar begins a formula, a line break spills over."""
    shown = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in token)
    return "".join(shown).replace("$", r"\$")


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty figure, in inches; made without pyplot, it needs no display."""
    figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
    return figure, figure.add_subplot()


def require_image(path: Path) -> str:
    """Return the format of an image, by the end of its name.

    Raises:
        InputError: There is no such format.
    """
    known = FigureCanvasBase.get_supported_filetypes()
    suffix = path.suffix.removeprefix(".").lower()
    if suffix not in known:
        raise InputError(f"an image must end in one of {', '.join(known)}, got {str(path)!r}")
    return suffix


def _save(figure: Figure, path: Path) -> None:
    """Write an image, atomically."""
    image = io.BytesIO()
    with warnings.catch_warnings():
        # A character that the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        figure.savefig(image, format=require_image(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, image.getvalue())
