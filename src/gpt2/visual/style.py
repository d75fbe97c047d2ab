"""One look for every picture, and one color for each kind of data, here and on the page."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files

import matplotlib as mpl
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import LogFormatter, MaxNLocator, NullFormatter

from gpt2.visual.fonts import families

# Lines, by number. Okabe and Ito 2008, Color Universal Design: the color-blind tell them apart. The
# dashes do so in black and white.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
GRAY = "#777777"  # reference lines
TRAINING, HELD_OUT = SERIES[0], SERIES[1]

# Images, by kind of data: names of matplotlib's color maps, all monotonic in lightness.
WEIGHTS = "gray"  # lighter is higher
ATTENTION = "viridis"  # 0 is dark; what the causal mask hides is left blank
SURPRISAL = "YlOrBr"  # bits a token: darker is more surprising
PROBABILITY = "Blues"  # darker is likelier
SIMILARITY = "cividis"  # lighter is more alike
SIGNED = "PuOr"  # around 0, which is white

MOST_LABELS = 60  # tokens along an axis beyond which their texts would overlap


@contextmanager
def styled() -> Iterator[None]:
    """Draw, or save, in the project's style while the context lasts."""
    sheet = str(files("gpt2.visual") / "gpt2.mplstyle")
    with mpl.rc_context(), style.context(sheet), warnings.catch_warnings():
        # A character that the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        mpl.rcParams["font.family"] = families()
        yield


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty figure, in inches; made without pyplot, it needs no display."""
    figure = Figure(figsize=(width, height))
    return figure, figure.add_subplot()


def integer_ticks(axis: Axis) -> None:
    """Let an axis count in whole numbers."""
    axis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))


def logarithmic_height(axes: Axes) -> None:
    """Let the vertical axis be logarithmic, with plain numbers at it."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(_PlainNumbers())
    axes.yaxis.set_minor_formatter(_PlainNumbers(minor_thresholds=(1.5, 0.6)))


def logarithmic_width(axes: Axes) -> None:
    """Let the horizontal axis be logarithmic, with plain numbers at it."""
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(_PlainNumbers())
    axes.xaxis.set_minor_formatter(NullFormatter())


class _PlainNumbers(LogFormatter):
    """Write 100,000 and not 1e+05, where matplotlib would write a number."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:,.10g}" if super().__call__(x, pos) else ""


def color_scale(axes: Axes, image: AxesImage, label: str, *, width: float) -> None:
    """Draw the scale of an image's colors at its right, as high as the image.

    Args:
        axes: Those of the image.
        image: Whose colors to show.
        label: What they mean, with the unit.
        width: Of the image, in inches.
    """
    beside = axes.inset_axes((1 + 0.14 / width, 0, 0.16 / width, 1))
    bar = axes.figure.colorbar(image, cax=beside, label=label)
    bar.outline.set(linewidth=0.5, edgecolor=mpl.rcParams["axes.edgecolor"])


def colors_of(name: str, count: int = 256) -> list[str]:
    """Return the colors of a map, lowest value first, as "#rrggbb"."""
    colors = mpl.colormaps[name].resampled(count)
    return [mpl.colors.to_hex(colors(i)) for i in range(count)]


def ink_on(color: tuple[float, ...]) -> str:
    """Return black or white, whichever can be read on a color of red, green and blue, 0 to 1.

    Source: relative luminance, WCAG 2.2. At 0.18 both have the same contrast.
    """
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3]]
    return (
        "black" if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.18 else "white"
    )
