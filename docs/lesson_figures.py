"""What do the figures of the lessons show? The names that a lesson's code has set, drawn."""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from gpt2.visual.style import ATTENTION, GRAY, SERIES, SIGNED, shown, styled

Namespace = dict[str, Any]


def draw(name: str, names: Namespace) -> Figure:
    """Draw a figure, in the project's style."""
    with styled():
        return FIGURES[name](names)


# Attention ------------------------------------------------------------------------------------


def averages(names: Namespace) -> Figure:
    """Draw step 2: weights @ x = averages."""
    x = names["x"]
    weights = names["averages"].new_ones(len(x), len(x)).tril()
    weights /= weights.sum(dim=1, keepdim=True)
    channels = ["person", "animal", "action", "pronoun"]
    tokens = names["tokens"]
    figure, (left, middle, right) = _panels(6.8, 2.6, [6, 4, 4])
    _matrix(left, _past(weights), "weights", ATTENTION, rows=tokens, columns=tokens)
    _matrix(middle, x, "x", SIGNED, columns=channels)
    _matrix(right, weights @ x, "weights @ x", SIGNED, columns=channels)
    return figure


def scores(names: Namespace) -> Figure:
    """Draw step 4: scores, weights, values, outputs."""
    q, k, v, tokens = (names[name] for name in ("q", "k", "v", "tokens"))
    by_pair = q @ k.T / q.size(-1) ** 0.5
    weights = _past(by_pair).nan_to_num(-torch.inf).softmax(dim=-1)
    figure, (first, second, third, fourth) = _panels(7.4, 2.5, [6, 6, 2.5, 2.5])
    _matrix(first, _past(by_pair), "scores", SIGNED, rows=tokens, columns=tokens)
    _matrix(second, _past(weights), "weights", ATTENTION, columns=tokens)
    _matrix(third, v, "v", SIGNED, columns=["person", "animal"])
    _matrix(fourth, weights @ v, "output", SIGNED, columns=["person", "animal"])
    return figure


def _panels(width: float, height: float, columns: Sequence[float]) -> tuple[Figure, list[Axes]]:
    """Return a figure of several matrices, each as wide as it has columns."""
    figure = Figure(figsize=(width, height))
    return figure, list(figure.subplots(1, len(columns), width_ratios=columns))


def _past(matrix: Tensor) -> Tensor:  # (T, T)
    """Return a matrix in which what the causal mask hides is NaN, which is drawn blank."""
    hidden = torch.ones_like(matrix, dtype=torch.bool).triu(1)
    return matrix.masked_fill(hidden, torch.nan)


def _matrix(
    axes: Axes,
    matrix: Tensor,
    title: str,
    colors: str,
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str],
) -> None:
    """Draw a matrix with its numbers; those of `SIGNED` colors are around 0."""
    values = matrix.numpy()
    most = float(np.nanmax(np.abs(values)))
    image = axes.imshow(values, cmap=colors, vmin=-most if colors == SIGNED else 0, vmax=most)
    for (row, column), value in np.ndenumerate(values):
        if not np.isnan(value):
            light = np.dot(image.cmap(image.norm(value))[:3], (0.299, 0.587, 0.114)) > 0.5
            text = f"{value:.2f}".rstrip("0").rstrip(".")
            color = "black" if light else "white"
            axes.text(column, row, text, ha="center", va="center", fontsize=6.5, color=color)
    axes.set_xticks(range(len(columns)), columns, rotation=90, fontsize=8)
    axes.set_yticks(range(len(values)), rows or [""] * len(values), fontsize=8)
    axes.set_title(title, fontsize=10)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


# The tokenizer --------------------------------------------------------------------------------


def merges(names: Namespace) -> Figure:
    """Draw how the bytes of a word become its tokens: a row after each merge."""
    word = "".join(token.decode() for token in names["tokens"])
    steps = _steps([letter.encode() for letter in word], names["ranks"])
    figure = Figure(figsize=(6.6, 3.1))
    axes = figure.add_subplot()
    labels = ["bytes"]
    for row, (rank, tokens, joined) in enumerate(steps):
        labels += [f"rank {rank:,}"] if rank is not None else []
        start = 0
        for number, token in enumerate(tokens):
            color = SERIES[5] if number == joined else "#eeeeee"
            axes.barh(row, len(token), left=start, height=0.8, color=color, edgecolor="white")
            text = token.decode().replace(" ", "␣")
            middle = start + len(token) / 2
            axes.text(middle, row, text, ha="center", va="center", fontsize=7.5)
            start += len(token)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    title = f"The merges of {word.replace(' ', '␣')}"
    axes.set_title(title, fontsize=10)
    axes.set(xlim=(0, len(word)), ylim=(len(labels) - 0.5, -0.5))
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _steps(
    tokens: list[bytes], ranks: dict[tuple[bytes, bytes], int]
) -> Iterator[tuple[int | None, list[bytes], int | None]]:
    """Yield the rank of each merge, the tokens after it, and the place of the new one."""
    yield None, list(tokens), None
    while known := [(ranks[p], i) for i, p in enumerate(pairwise(tokens)) if p in ranks]:
        rank, place = min(known)
        tokens[place : place + 2] = [tokens[place] + tokens[place + 1]]
        yield rank, list(tokens), place


# GPT-2 in action ------------------------------------------------------------------------------


def temperatures(names: Namespace) -> Figure:
    """Draw the probabilities of the likeliest tokens at three temperatures."""
    last, tokenizer = names["last"], names["tokenizer"]
    best = last.topk(10).indices
    labels = [shown(tokenizer.decode([i])).replace(" ", "␣") for i in best.tolist()]
    places = range(len(labels) + 1)
    figure = Figure(figsize=(7.4, 2.8))
    for number, axes in enumerate(figure.subplots(1, 3, sharey=True)):
        temperature = (0.5, 1.0, 2.0)[number]
        probabilities = (last / temperature).softmax(dim=0)
        rest = 1 - probabilities[best].sum().item()
        axes.barh(places, [*probabilities[best].tolist(), rest], color=SERIES[0])
        axes.patches[-1].set_color(GRAY)
        axes.set(title=f"temperature {temperature}", xlabel="probability", xlim=(0, 1))
        axes.set_yticks(places, [*labels, "all others"])
        axes.set_ylim(len(labels) + 0.6, -0.6)
        axes.tick_params(axis="y", length=0)
    return figure


FIGURES: dict[str, Callable[[Namespace], Figure]] = {
    "attention-average": averages,
    "attention-scores": scores,
    "tokenizer-merges": merges,
    "action-temperature": temperatures,
}
