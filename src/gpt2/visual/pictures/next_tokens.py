"""Which tokens does a model expect after a text?"""

import math
from dataclasses import dataclass

from matplotlib.figure import Figure

from gpt2.errors import InputError
from gpt2.files.pretrained import GPT2
from gpt2.model.gpt import GPT2Network
from gpt2.visual.capture import Recording, record
from gpt2.visual.fonts import drawable
from gpt2.visual.pictures.picture import Picture, Table
from gpt2.visual.style import MOST_LABELS, SERIES, new_figure
from gpt2.visual.token_texts import label, token_texts

ENDING = 32  # characters of the text that the title repeats


def next_tokens(model: GPT2, recording: Recording, top: int = 10) -> "NextTokens":
    """Return the likeliest tokens after a recorded text.

    Args:
        model: The model that was recorded.
        recording: Of a text.
        top: How many tokens; of equal ones the lowest ids.
    Raises:
        InputError: `top` is not 1 to 60, or more than the vocabulary has.
    """
    most = min(MOST_LABELS, model.config.vocab_size - len(model.unused_ids))
    if not 1 <= top <= most:
        raise InputError(f"top must be 1 to {most}, got {top}")
    logits = recording.logits[-1].clone()
    logits[model.unused_ids] = -math.inf  # what no token has is never next
    probabilities, ids = logits.softmax(-1).sort(descending=True, stable=True)
    tokenizer = model.require_tokenizer()
    return NextTokens(
        text=token_texts(tokenizer, recording.ids),
        tokens=token_texts(tokenizer, ids[:top].tolist()),
        ids=ids[:top].tolist(),
        probabilities=probabilities[:top].tolist(),
    )


@dataclass(frozen=True)
class NextTokens(Picture):
    """The likeliest tokens after a text, and their probabilities."""

    name = "next"
    title = "Next token"
    seen = (
        "Each bar is a token that may come next, as long as the probability that the model gives "
        "it. All tokens of the vocabulary together have 100 %."
    )
    look_for = (
        "One long bar: the model is sure. Many short ones: the text may go on in many ways. "
        "Sampling draws from these probabilities; temperature 0 always takes the first bar."
    )
    code = (next_tokens, GPT2Network.logits, record)

    text: list[str]  # its tokens
    tokens: list[str]  # the likeliest first
    ids: list[int]
    probabilities: list[float]

    def draw(self) -> Figure:
        """Draw a bar a token, with its probability at the end."""
        count = len(self.ids)
        figure, axes = new_figure(7, 0.26 * count + 1.4)
        percent = [100 * probability for probability in self.probabilities]
        bars = axes.barh(range(count), percent, color=SERIES[0], height=0.75)
        axes.bar_label(bars, [f"{each:.3g} %" for each in percent], padding=4, fontsize=9)
        axes.set_yticks(range(count), [label(token) for token in self.tokens])
        axes.set(
            title=drawable(self.heading()), ylim=(count - 0.4, -0.6), xlim=(0, 1.15 * percent[0])
        )
        together = f"; these {count} tokens have {sum(percent):.3g} % together" * (count > 1)
        axes.set_xlabel(f"probability, in %{together}")
        axes.tick_params(axis="y", length=0)
        return figure

    def heading(self) -> str:
        """Return the title with the end of the text."""
        text = "".join(self.text)
        return f"Next token after “{'…' * (len(text) > ENDING)}{text[-ENDING:]}”"

    def table(self) -> Table:
        """Return tokens, ids and probabilities."""
        rounded = [round(probability, 5) for probability in self.probabilities]
        rows = list(zip(self.tokens, self.ids, rounded, strict=True))
        return Table(["token", "id", "probability"], rows)

    def description(self) -> str:
        """Return the likeliest token."""
        return (
            f"{self.heading()}: the likeliest is “{self.tokens[0]}” "
            f"with {100 * self.probabilities[0]:.3g} %."
        )
