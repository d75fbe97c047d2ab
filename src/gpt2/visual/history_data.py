"""What does the page have of a training run? Its loss, and the moments that it has kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpt2.visual.losses import Losses, Over, Row, losses_of
from gpt2.visual.moments import WEIGHTS_NAME, Moment
from gpt2.visual.packed import pack
from gpt2.visual.pictures.loss import Band

DIGITS = 5  # significant ones of a loss on the page


@dataclass(frozen=True)
class TrainingRun:
    """How a model was trained, as far as it is known."""

    directory: str  # as gpt2 plot loss has it
    moments: Sequence[Moment]  # in order
    rows: Sequence[Row]  # of metrics.jsonl
    band: Band = ()  # where the held-out loss of like runs is


def run_history(moments: Sequence[Moment], rows: Sequence[Row]) -> dict[str, Any] | None:
    """Return a run as the page has it, in strict JSON; None where nothing is known of it.

    Args:
        moments: Of the run, in order. Where it changed its text when it was resumed, only those of
            the last text are taken.
        rows: Those of its metrics.jsonl.
    """
    losses = losses_of(rows)
    if not len(losses.steps) and not len(losses.val_steps) and not moments:
        return None
    data: dict[str, Any] = {"loss": _loss(losses)}
    moments = comparable(moments)
    if not moments:
        return data
    last = moments[-1]
    data["moments"] = [
        {"step": m.step, "tokens": m.tokens, "prompt": m.prompt, "sample": m.sample}
        for m in moments
    ]
    data |= {"channels": last.channels, "blocks": last.blocks, "heads": last.heads}
    data |= {"tokens": last.labels, "weights_name": WEIGHTS_NAME}
    data["positions"] = pack(torch.stack([m.positions for m in moments]))
    data["weights"] = [pack(m.weights.float(), "uint8") for m in moments]
    attention = torch.stack([m.attention for m in moments]).float()
    data["attention"] = pack(_pasts(attention), "uint8")
    return data


def _pasts(attention: Tensor) -> Tensor:  # (..., T, T) -> (..., T (T + 1) / 2)
    """Return the rows of lower triangles, one after the other: there is no attention elsewhere."""
    count = attention.shape[-1]
    rows, columns = torch.tril_indices(count, count)
    return attention[..., rows, columns]


def comparable(moments: Sequence[Moment]) -> list[Moment]:
    """Return the moments that show the same as the last: the same text, heads and channels."""
    return [moment for moment in moments if _shown(moment) == _shown(moments[-1])]


def _shown(moment: Moment) -> tuple[list[int], ...]:
    return moment.ids, moment.blocks, moment.heads, moment.channels


def _loss(losses: Losses) -> dict[str, list[float | None]]:
    over: tuple[Over, ...] = ("tokens", "hours")
    return {
        "step": losses.steps.tolist(),
        **{name: _listed(losses.at(losses.steps, name)) for name in over},
        "loss": _listed(losses.loss),
        "val_step": losses.val_steps.tolist(),
        "val_loss": _listed(losses.val_loss),
    }


def _listed(values: np.ndarray) -> list[float | None]:
    """Return numbers for JSON, rounded to what can be seen; null for those that are not known."""
    return [float(f"{v:.{DIGITS}g}") if np.isfinite(v) else None for v in values]
