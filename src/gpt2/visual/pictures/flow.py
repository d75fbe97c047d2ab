"""Which parts of a model make a token likely? Direct logit attribution.

Dimension key: S parts: the embeddings, the attention and the MLP of each block in turn, and the
bias of the final norm; T tokens, C channels, V vocabulary.
Source: Elhage et al. 2021, A Mathematical Framework for Transformer Circuits, "virtual weights and
the residual stream as a communication channel"; the frozen scale: Wang et al. 2022,
arXiv:2211.00593, section 3.
"""

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from gpt2.files.pretrained import GPT2
from gpt2.model.gpt import GPT2Network
from gpt2.visual.capture import Recording, record
from gpt2.visual.pictures.picture import Picture, Table
from gpt2.visual.style import GRAY, SERIES, new_figure
from gpt2.visual.token_texts import label, token_texts

OTHERS = "embeddings, bias of ln_f"
KINDS = {"attention": SERIES[0], "MLP": SERIES[1], OTHERS: GRAY}
HATCHES = {"attention": "", "MLP": "///", OTHERS: ""}  # for readers in black and white
TABLE_ROWS = 48


def flow(model: GPT2, recording: Recording, token: str | None = None) -> "Flow":
    """Split the logit of the token after a recorded text into what each part adds to it.

    Args:
        model: The model that was recorded.
        recording: Of a text.
        token: Text of one token; the likeliest if not given.
    Raises:
        UnknownTokenError: The text is not one token.
    """
    tokenizer = model.require_tokenizer()
    logits = recording.logits[-1]
    i = int(logits.argmax()) if token is None else tokenizer.encode_single_token(token)
    added, added_to_mean = attribute(model, recording, i)
    return Flow(
        token=token_texts(tokenizer, [i])[0],
        id=i,
        probability=float(logits.softmax(-1)[i]),
        parts=part_names(model.config.n_layer),
        added=added.numpy(),
        added_to_mean=added_to_mean.numpy(),
    )


@torch.inference_mode()
def attribute(model: GPT2Network, recording: Recording, token: int) -> tuple[Tensor, Tensor]:
    """Return what each part adds to the logit of a token after the text, and to the mean logit.

    The final norm divides by the deviation of the whole residual stream. With that number fixed,
    the norm and the head are linear, so that the logit is the sum of what the parts add.

    Args:
        model: The model that was recorded.
        recording: Of a text.
        token: Its id.
    Returns:
        Two of (S,), float32; their sums are the logit, and the mean of all logits.
    """
    norm, head = model.ln_f, model.lm_head.weight.float().cpu()  # (V, C)
    stream = recording.stream()[:, -1]  # (S - 1, C)
    parts = torch.cat([stream[:1], stream.diff(dim=0)])
    final = stream[-1]
    deviation = (final.var(correction=0) + norm.eps).sqrt()
    centered = (parts - parts.mean(dim=-1, keepdim=True)) / deviation
    normed = torch.cat([centered * norm.weight.float().cpu(), norm.bias.float().cpu()[None]])
    return normed @ head[token], normed @ head.mean(dim=0)


def part_names(n_layer: int) -> list[str]:
    """Return the names of the parts that add to a logit, in their order.

    >>> part_names(1)
    ['embeddings', 'block 0 attention', 'block 0 MLP', 'bias of ln_f']
    """
    blocks = [f"block {i} {part}" for i in range(n_layer) for part in ("attention", "MLP")]
    return ["embeddings", *blocks, "bias of ln_f"]


@dataclass(frozen=True)
class Flow(Picture):
    """What each part of a model adds to the logit of a token."""

    name = "flow"
    title = "Direct logit attribution"
    seen = (
        "The logit of one token after the text, above the mean of all tokens' logits, as a sum. "
        "Each bar begins where the one before it ends, and is what the embeddings, or the "
        "attention or the MLP of a block, add by themselves; the last is the bias of the final "
        "norm. The mean is subtracted, for what is added to all logits alike changes no "
        "probability. A logit higher by 1 is a probability e times as high, relative to the others."
    )
    look_for = (
        "Long bars upward: the parts that know this token. Bars downward: parts that speak "
        "against it, as the last blocks often do. What a part contributes through later parts "
        "is counted there."
    )
    code = (attribute, record)

    token: str
    id: int
    probability: float
    parts: list[str]  # S
    added: np.ndarray  # (S,): to the logit of the token
    added_to_mean: np.ndarray  # (S,): to the mean of all logits

    def draw(self) -> Figure:
        """Draw the parts as steps from 0 to the logit."""
        steps = self.added - self.added_to_mean
        ends = steps.cumsum()
        count = len(steps)
        figure, axes = new_figure(min(18, 4 + 0.25 * count), 4.2)
        axes.use_sticky_edges = False  # leave space above and below the bars
        for kind in KINDS:
            chosen = [i for i, part in enumerate(self.parts) if kind_of(part) == kind]
            axes.bar(
                chosen,
                steps[chosen],
                bottom=(ends - steps)[chosen],
                width=0.8,
                color=KINDS[kind],
                hatch=HATCHES[kind],
                edgecolor="white",
                linewidth=0,
                label=kind,
            )
        axes.hlines(ends[:-1], range(count - 1), range(1, count), color=GRAY, linewidth=0.8)
        axes.axhline(0, color=GRAY, linewidth=0.8)
        blocks = range((count - 2) // 2)
        places = [0, *(1.5 + 2 * i for i in blocks), count - 1]
        axes.set_xticks(places, ["embed", *map(str, blocks), "ln_f"])
        axes.set(
            title=self.heading(),
            xlabel="block",
            ylabel="logit above the mean, in nats",
            xmargin=0.01,
        )
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
        return figure

    def heading(self) -> str:
        """Return the title with the token and its logit."""
        steps = self.added - self.added_to_mean
        share = f"{100 * self.probability:.3g} %"
        return f"Logit of “{label(self.token)}” ({share}): {steps.sum():.2f} above the mean"

    def table(self) -> Table:
        """Return what each part adds; of many, those that add most, up or down."""
        steps = self.added - self.added_to_mean
        largest = np.sort(np.argsort(-np.abs(steps), kind="stable")[:TABLE_ROWS])
        rows = [
            [self.parts[i], round(float(self.added[i]), 3), round(float(steps[i]), 3)]
            for i in largest
        ]
        return Table(["part", "adds to the logit", "above what it adds to the mean"], rows)

    def description(self) -> str:
        """Return the part that adds most."""
        steps = self.added - self.added_to_mean
        most = int(steps.argmax())
        return f"{self.heading()}; the largest part, {steps[most]:.2f}, is from {self.parts[most]}."


def kind_of(part: str) -> str:
    """Return which of KINDS a part is."""
    kind = part.split()[-1]
    return kind if kind in KINDS else OTHERS
