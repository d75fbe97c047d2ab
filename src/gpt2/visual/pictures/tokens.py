"""Which tokens does a text have, and how surprising is each to a model?"""

import math
import unicodedata
from dataclasses import dataclass

import matplotlib as mpl
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gpt2.errors import InputError
from gpt2.files.pretrained import GPT2
from gpt2.visual.capture import Recording, record
from gpt2.visual.fonts import MONOSPACE, drawable, families
from gpt2.visual.pictures.picture import Picture, Table
from gpt2.visual.style import GRAY, SURPRISAL, ink_on
from gpt2.visual.token_texts import token_texts
from llm_tokenizer import Tokenizer

MOST_TOKENS = 1024
TABLE_ROWS = 48
# Of tokens in turn, where there is no surprisal: a light blue and a light orange.
TINTS = ((0.81, 0.89, 0.95), (0.96, 0.87, 0.81))
UNKNOWN = (1.0, 1.0, 1.0)  # the first token has no surprisal

# The page, in characters wide and lines high; a character of the font of 10 points, in inches.
LINE_WIDTH = 90
CHARACTER, LINE = 0.602 * 10 / 72, 0.36
ID_CHARACTER = 0.7  # an id is written in 7 points
GAP = 0.2  # between boxes
MARGIN, TITLE, SCALE = 0.3, 0.5, 0.8  # inches


def tokens_of(tokenizer: Tokenizer, text: str) -> "TokensOfText":
    """Split a text into tokens, without a model.

    Raises:
        InputError: It has no tokens, or more than a picture shows.
    """
    ids = tokenizer.encode(text, allowed_special="all")
    if not 1 <= len(ids) <= MOST_TOKENS:
        raise InputError(f"the text must have 1 to {MOST_TOKENS} tokens, got {len(ids)}")
    return _tokens(tokenizer, ids, None, None)


def surprisals(model: GPT2, recording: Recording) -> "TokensOfText":
    """Return the tokens of a recorded text, and how surprising each is to the model."""
    bits = surprisal_bits(recording)
    highest = math.log2(model.config.vocab_size)
    return _tokens(model.require_tokenizer(), recording.ids, bits, highest)


def surprisal_bits(recording: Recording) -> list[float | None]:
    """Return the surprisal of each token given those before it, in bits; None of the first.

    Source: Shannon 1948, A Mathematical Theory of Communication: -log2 of the probability.
    """
    targets = recording.logits.new_tensor(recording.ids[1:]).long()
    nats = F.cross_entropy(recording.logits[:-1], targets, reduction="none")
    return [None, *(nats / math.log(2)).tolist()]


def _tokens(
    tokenizer: Tokenizer, ids: list[int], bits: list[float | None] | None, highest: float | None
) -> "TokensOfText":
    texts = token_texts(tokenizer, ids)
    breaks = [b"\n" in token for token in tokenizer.decode_tokens_bytes(ids)]
    return TokensOfText(texts, ids, breaks, bits, highest)


@dataclass(frozen=True)
class TokensOfText(Picture):
    """The tokens of a text, with their ids and, of a model, their surprisal."""

    name = "tokens"
    title = "Tokens"
    seen = (
        "Each box is a token of the text, its id below it. With a model, the color is its "
        "surprisal: minus the binary logarithm of the probability that the model gives it after "
        "those before it, in bits. The first token has none."
    )
    look_for = (
        "Words of a common kind are one token, rare ones are several. Surprise is high where "
        "something new begins, a name or a number, and low within words and in phrases that "
        "everybody knows. Text that is repeated surprises a good model little."
    )
    code = (surprisal_bits, record)

    tokens: list[str]
    ids: list[int]
    breaks: list[bool]  # whether the text goes on in a new line
    bits: list[float | None] | None  # None without a model
    highest: float | None  # bits of a token where all are equally likely: log2 of the vocabulary

    def draw(self) -> Figure:
        """Draw a box a token, in lines, and the scale of the colors."""
        shown = [_fitted(drawable(token)) for token in self.tokens]
        widths = [_width(token, i) for token, i in zip(shown, self.ids, strict=True)]
        places = _places(widths, self.breaks)
        lines = places[-1][1] + 1
        below = SCALE if self.bits else 0.0
        width, height = LINE_WIDTH * CHARACTER, lines * LINE
        page = width + 2 * MARGIN, height + TITLE + below + MARGIN / 2
        figure = Figure(figsize=page)
        figure.set_layout_engine("none")  # the boxes are measured in characters
        left, bottom = MARGIN / page[0], (below + MARGIN / 2) / page[1]
        area = (left, bottom, width / page[0], height / page[1])
        axes = figure.add_axes(area, xlim=(0, LINE_WIDTH), ylim=(lines, 0))
        axes.set_axis_off()
        self._draw_boxes(axes, shown, widths, places)
        figure.suptitle(self.heading(), x=left, y=1 - 0.12 / page[1], ha="left", va="top")
        if self.bits:
            self._add_scale(figure, page)
        return figure

    def _draw_boxes(
        self,
        axes: Axes,
        shown: list[str],
        widths: list[float],
        places: list[tuple[float, int]],
    ) -> None:
        colors = self.colors()
        boxes = [
            Rectangle((x, line + 0.04), width - GAP, 0.9)
            for (x, line), width in zip(places, widths, strict=True)
        ]
        edges = [GRAY if color == UNKNOWN else "none" for color in colors]
        axes.add_collection(PatchCollection(boxes, fc=colors, ec=edges, clip_on=False))
        for box, color, text, i in zip(boxes, colors, shown, self.ids, strict=True):
            _write(axes, box, ink_on(color), text, i)

    def colors(self) -> list[tuple[float, ...]]:
        """Return the color of each token."""
        if self.bits is None or self.highest is None:
            return [TINTS[number % 2] for number in range(len(self.ids))]
        colormap = mpl.colormaps[SURPRISAL]
        return [UNKNOWN if bits is None else colormap(bits / self.highest) for bits in self.bits]

    def _add_scale(self, figure: Figure, page: tuple[float, float]) -> None:
        box = (MARGIN / page[0], 0.5 / page[1], 4 / page[0], 0.12 / page[1])
        bar = figure.colorbar(
            ScalarMappable(Normalize(0, self.highest), SURPRISAL),
            cax=figure.add_axes(box),
            orientation="horizontal",
            extend="max",
        )
        bar.set_label("surprisal of a token, in bits")

    def heading(self) -> str:
        """Return the title with what is shown."""
        known = [bits for bits in self.bits or [] if bits is not None]
        count = f"{len(self.ids)} token{'s' if len(self.ids) > 1 else ''}"
        if not known:
            return count
        return f"{count}, mean surprisal {sum(known) / len(known):.2f} bits"

    def table(self) -> Table:
        """Return tokens, ids and bits; of many, the most surprising."""
        bits = self.bits or [None] * len(self.ids)
        rows = [
            [i, token, self.ids[i], None if surprisal is None else round(surprisal, 2)]
            for i, (token, surprisal) in enumerate(zip(self.tokens, bits, strict=True))
        ]
        highest_first = sorted(range(len(rows)), key=lambda i: -(bits[i] or 0))
        chosen = sorted(highest_first[:TABLE_ROWS])
        return Table(["position", "token", "id", "bits"], [rows[i] for i in chosen])

    def description(self) -> str:
        """Return what is drawn."""
        return f"{self.heading()}."


def _write(axes: Axes, box: Rectangle, ink: str, token: str, i: int) -> None:
    """Write a token and its id into its box."""
    center, line = box.get_x() + box.get_width() / 2, box.get_y()
    for y, text, size in ((0.46, token, 10), (0.82, str(i), 7)):
        shown = axes.text(center, line + y, text, color=ink, ha="center", fontsize=size)
        shown.set_fontfamily([MONOSPACE, *families()])


def _fitted(token: str) -> str:
    """Return a token's text, cut where it is longer than a line."""
    most = LINE_WIDTH // 2 - 1
    return token if len(token) <= most else token[: most - 1] + "…"


def _width(token: str, i: int) -> float:
    """Return the width of a token's box, in characters."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in token)
    narrow = sum(unicodedata.combining(c) > 0 for c in token)
    return max(len(token) + wide - narrow, ID_CHARACTER * len(str(i))) + 0.6


def _places(widths: list[float], breaks: list[bool]) -> list[tuple[float, int]]:
    """Return where each box begins, in characters, and its line."""
    places, x, line = [], 0.0, 0
    for width, breaks_line in zip(widths, breaks, strict=True):
        if x and x + width > LINE_WIDTH:
            x, line = 0.0, line + 1
        places.append((x, line))
        x, line = (0.0, line + 1) if breaks_line else (x + width, line)
    return places
