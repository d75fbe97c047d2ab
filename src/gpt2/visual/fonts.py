"""Which characters can be drawn on this machine, and by which fonts?"""

from functools import cache

from matplotlib import font_manager

# Of the first, which comes with matplotlib, are all pictures; the others draw the characters that
# it lacks, where they are installed: those of common systems for Chinese, Japanese and Korean.
FAMILIES = (
    "DejaVu Sans",
    "Noto Sans CJK SC",
    "PingFang SC",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Microsoft YaHei",
    "Yu Gothic",
    "Malgun Gothic",
    "WenQuanYi Micro Hei",
    "Noto Emoji",
    "Segoe UI Emoji",
)
MONOSPACE = "DejaVu Sans Mono"  # comes with matplotlib, too


@cache
def families() -> list[str]:
    """Return the names of the fonts to draw with, in this order."""
    installed = set(font_manager.get_font_names())
    return [family for family in FAMILIES if family in installed]


def drawable(text: str) -> str:
    """Return a text in which the characters that no font has are escaped.

    >>> drawable("naïve \\U00012000")
    'naïve \\\\U00012000'
    """
    return "".join(c if _has_glyph(c) else c.encode("unicode_escape").decode() for c in text)


@cache
def _has_glyph(character: str) -> bool:
    fonts = (font_manager.get_font(font_manager.findfont(family)) for family in families())
    return any(font.get_char_index(ord(character)) for font in fonts)
