"""How does the residual stream grow through the blocks? Its length, token by token."""

from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure

from gpt2.visual.capture import Recording
from gpt2.visual.labels import label_ends
from gpt2.visual.pictures.picture import Picture, Table, rounded
from gpt2.visual.style import DASHES, SERIES, integer_ticks, logarithmic_height, new_figure


def stream_norms(recording: Recording) -> "StreamNorms":
    """Measure the residual stream where the blocks begin, and after each attention and each MLP."""
    lengths = recording.stream().norm(dim=-1).numpy()  # (2 L + 1, T)
    return StreamNorms(lengths[:, 0], lengths[:, 1:])


@dataclass(frozen=True)
class StreamNorms(Picture):
    """The length of the residual stream at each token, from the embeddings to the last block."""

    name = "norms"
    title = "Growth of the residual stream"
    seen = (
        "The length (Euclidean norm) of the residual stream, which each attention and each MLP in "
        "turn adds to: its mean over the tokens of a text, and the range from the shortest to the "
        "longest. The first token has its own line. The scale is logarithmic."
    )
    look_for = (
        "The stream grows from block to block, so that a later block must add more to be heard; "
        "ln_f brings it back to one length in the end. In GPT-2 the first token is far longer than "
        "all others: many heads attend to it where they have nothing to say."
    )
    code = (stream_norms, Recording.stream)

    first: np.ndarray  # (2 L + 1,): at the first token
    others: np.ndarray  # (2 L + 1, T - 1): at those after it

    def draw(self) -> Figure:
        """Draw the mean with its range, and the first token."""
        figure, axes = new_figure(8, 4.5)
        blocks = np.arange(len(self.first)) / 2
        labels, lines = ["first token"], [self.first]
        if self.others.size:
            labels.insert(0, "mean of the others")
            lines.insert(0, self.others.mean(axis=1))
            low, high = self.others.min(axis=1), self.others.max(axis=1)
            axes.fill_between(blocks, low, high, color=SERIES[0], alpha=0.2, linewidth=0)
        for i, line in enumerate(lines):
            axes.plot(
                blocks, line, color=SERIES[i], linestyle=DASHES[i], marker="o", markersize=2.5
            )
        if (np.nan_to_num(self.first, posinf=0) > 0).any():  # not of weights that are all 0
            logarithmic_height(axes)
        axes.grid(axis="y", which="both", linewidth=0.5)
        integer_ticks(axes.xaxis)
        axes.margins(x=0.01)
        axes.set(
            title=self.title,
            xlabel="blocks passed (between: after a block's attention)",
            ylabel="norm of the residual stream",
        )
        label_ends(axes, labels)
        return figure

    def table(self) -> Table:
        """Return the norms after each block."""
        columns = ["blocks passed", "first token"]
        rows: list[list[float | None]] = [
            [i, *rounded(self.first[2 * i])] for i in range(len(self.first) // 2 + 1)
        ]
        if self.others.size:
            columns += ["mean of the others", "lowest", "highest"]
            for row, others in zip(rows, self.others[::2], strict=True):
                row += rounded(others.mean(), others.min(), others.max())
        return Table(columns, rows)

    def description(self) -> str:
        """Return what is drawn."""
        text = f"The norm of the first token goes from {self.first[0]:.3g} to {self.first[-1]:.3g}"
        if not self.others.size:
            return f"{text}."
        start, *_, end = self.others.mean(axis=1)
        return f"{text}, the mean of the others from {start:.3g} to {end:.3g}."
