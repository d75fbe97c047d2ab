"""What would a model predict after each of its blocks? The logit lens.

Dimension key: L blocks, T tokens, C channels, V vocabulary, K likeliest tokens.
Source: nostalgebraist 2020, "interpreting GPT: the logit lens", LessWrong.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from gpt2.files.pretrained import GPT2
from gpt2.model.gpt import GPT2Network
from gpt2.visual.capture import Recording, record
from gpt2.visual.pictures.picture import Picture, Table
from gpt2.visual.style import PROBABILITY, ink_on, new_figure
from gpt2.visual.token_texts import label, token_texts

MOST_ROWS = 40  # tokens, the last of the text
MOST_COLUMNS = 13  # layers whose predictions can be read side by side


def lens(model: GPT2, recording: Recording) -> "Lens":
    """Read the predictions after every block at the last tokens of a recorded text.

    Args:
        model: The model that was recorded.
        recording: Of a text.
    """
    ids, probabilities = read_lens(model, recording, last=MOST_ROWS)  # (L + 1, T, 1)
    tokenizer = model.require_tokenizer()
    first = len(recording.ids) - ids.size(1)
    return Lens(
        first=first,
        tokens=token_texts(tokenizer, recording.ids[first:]),
        following=[*recording.ids[first + 1 :], None],
        layers=layer_names(len(ids)),
        ids=ids[:, :, 0].numpy(),
        predictions=[token_texts(tokenizer, row) for row in ids[:, :, 0].tolist()],
        probabilities=probabilities[:, :, 0].numpy(),
    )


@torch.inference_mode()
def read_lens(
    model: GPT2, recording: Recording, *, last: int | None = None, top: int = 1
) -> tuple[Tensor, Tensor]:
    """Return the likeliest next tokens, had the model ended after each of its blocks.

    Args:
        model: The model that was recorded.
        recording: Of a text.
        last: At how many positions, the last of the text; all if not given.
        top: K: how many tokens, the likeliest first; as many as there are in a smaller vocabulary.
    Returns:
        Ids and probabilities, each (L + 1, T, K): of the embeddings, then after every block.
    """
    stream = recording.stream()[::2]  # (L + 1, T, C)
    stream = stream if last is None else stream[:, -last:]
    ids, probabilities = [], []
    for hidden in stream:  # one at a time: (T, V) is much for a long text
        logits = model.logits(model.ln_f(hidden.to(model.device)))
        logits[:, model.unused_ids] = -math.inf
        highest = logits.topk(min(top, logits.shape[-1] - len(model.unused_ids)))
        ids.append(highest.indices.cpu())
        probabilities.append((highest.values - logits.logsumexp(-1, keepdim=True)).exp().cpu())
    return torch.stack(ids), torch.stack(probabilities)


def layer_names(count: int) -> list[str]:
    """Return what the lens calls the embeddings and the blocks.

    >>> layer_names(3)
    ['embeddings', 'block 0', 'block 1']
    """
    return ["embeddings", *(f"block {i}" for i in range(count - 1))]


@dataclass(frozen=True)
class Lens(Picture):
    """The prediction after every block at the last tokens of a text."""

    name = "lens"
    title = "Logit lens"
    seen = (
        "Each row is a token of the text. Along it is the likeliest next token, had the model "
        "ended at the embeddings or after one of its blocks: the residual stream there goes "
        "through the final norm and the head. The darker, the likelier. Bold: what does come next."
    )
    look_for = (
        "Early columns often repeat the token or guess what commonly follows it; the guess is "
        "refined from block to block and settles before the last one. Where it settles late, the "
        "context matters. The last column is the model's own prediction."
    )
    code = (read_lens, GPT2Network.logits, record)

    first: int  # position of the first row
    tokens: list[str]  # T
    following: list[int | None]  # T: the ids of the tokens that do come next
    layers: Sequence[str]  # L + 1
    ids: np.ndarray  # (L + 1, T)
    predictions: list[list[str]]  # (L + 1, T)
    probabilities: np.ndarray  # (L + 1, T)

    def draw(self) -> Figure:
        """Draw a row a token and a column a layer, with the prediction in each cell."""
        chosen = self.columns()
        shares = self.probabilities[chosen].T  # (T, columns)
        rows, columns = shares.shape
        figure, axes = new_figure(1.15 * columns + 2.6, max(2.4, 0.24 * rows + 1))
        colormap = mpl.colormaps[PROBABILITY]
        image = axes.imshow(shares, cmap=colormap, vmin=0, vmax=1, aspect="auto")
        for i, layer in enumerate(chosen):
            for t in range(rows):
                is_true = self.ids[layer, t] == self.following[t]
                text = label(self.predictions[layer][t])
                ink = ink_on(colormap(float(shares[t, i])))
                weight = "bold" if is_true else "normal"
                axes.text(i, t, text, color=ink, weight=weight, size=8, ha="center", va="center")
        axes.set_xticks(range(columns), [self.layers[layer] for layer in chosen])
        axes.set_yticks(range(rows), [label(token) for token in self.tokens])
        axes.tick_params(length=0, labelbottom=False, labeltop=True)
        axes.spines[:].set_visible(False)
        axes.set(title=self.heading(), ylabel="token")
        figure.colorbar(image, label="probability", shrink=0.8, aspect=40)
        return figure

    def columns(self) -> list[int]:
        """Return the layers to draw: all, or some of many, evenly, with the first and the last."""
        count = len(self.layers)
        return np.linspace(0, count - 1, min(count, MOST_COLUMNS)).round().astype(int).tolist()

    def heading(self) -> str:
        """Return the title with what is shown."""
        if self.first == 0:
            return "Logit lens: the next token, predicted after every block"
        total = self.first + len(self.tokens)
        return f"Logit lens: the next token, at the last {len(self.tokens)} of {total} tokens"

    def table(self) -> Table:
        """Return the prediction of each layer and its probability, at the last token."""
        rows = [
            (layer, texts[-1], round(float(shares[-1]), 4))
            for layer, texts, shares in zip(
                self.layers, self.predictions, self.probabilities, strict=True
            )
        ]
        return Table(["after", "prediction after the last token", "probability"], rows)

    def description(self) -> str:
        """Return from where on the prediction at the last token is the final one."""
        last = self.ids[:, -1]
        differing = np.flatnonzero(last != last[-1])
        settled = self.layers[differing[-1] + 1 if len(differing) else 0]
        return (
            f"After the last token, the prediction is “{self.predictions[-1][-1]}”, "
            f"from {settled} on."
        )
