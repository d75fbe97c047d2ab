"""How `llm-tokenizer show` tells tokens apart: by colour, on a page of HTML, or line by line."""

import html
import unicodedata
from typing import Protocol

N_COLORS = 6  # enough that neighbours differ, few enough to be pleasant
ANSI_BACKGROUNDS = (153, 151, 223, 183, 217, 187)  # of the 256-colour palette: light ones
HTML_BACKGROUNDS = ("#cde4ff", "#cdeccd", "#ffe3b8", "#e6d3f7", "#ffd3d6", "#e6e6b8")
LONGEST_QUOTED = 40  # characters

# What has a picture of one cell: a blank, and control characters except \t, \n and \r.
_PICTURES = {i: chr(0x2400 + i) for i in range(32) if chr(i) not in "\t\n\r"}
_PICTURES |= {ord(" "): "␣", 0x7F: "␡"}


def readable(token: bytes) -> str:
    """Return a token as text: what is not UTF-8, or what a terminal would act on, is escaped.

    >>> readable(b"caf\\xc3"), readable(b"\\x1b[2J"), readable("naïve".encode())
    ('caf\\\\xc3', '\\\\x1b[2J', 'naïve')
    """
    return printable(token.decode("utf-8", "backslashreplace"))


def printable(text: str) -> str:
    """Return a text on one line, with escapes for what a terminal would act on.

    >>> print(printable("\\x1b[2J"), printable("naïve\\n"))
    \\x1b[2J naïve\\n
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def quoted(text: str) -> str:
    """Return a text as one readable line in quotation marks, cut where it is long.

    >>> print(quoted("a\\n"), quoted("ha" * 30))
    "a\\n" "hahahahahahahahahahahahahahahahahahahaha"...
    """
    cut = "..." if len(text) > LONGEST_QUOTED else ""
    start = text[:LONGEST_QUOTED]
    return f'"{_circle(start[:1])}{readable(start.encode())}"{cut}'


def character(one: str) -> str:
    """Return a character of a text so that it is seen where it stands alone.

    >>> print(*map(character, ["a", " ", "\\n", "\\x1b", "\\u0301", "\\u200d"]))
    a ␣ \\n ␛ ◌́ \\u200d
    """
    return _circle(one) + (_PICTURES.get(ord(one)) or readable(one.encode()))


def _circle(first: str) -> str:
    """Return what a mark may join, as it would join the character before it; "" if it is none."""
    return "◌" if first and unicodedata.category(first).startswith("M") else ""


def counted(number: int, noun: str) -> str:
    """Return a number and its noun.

    >>> counted(1, "byte"), counted(2000, "byte")
    ('1 byte', '2,000 bytes')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def width(text: str) -> int:
    """Return how many cells of a terminal a readable text takes.

    >>> width("abc"), width("日本"), width("e\\u0301")
    (3, 4, 1)
    """
    return sum(map(_cells, text))


def _cells(one: str) -> int:
    if unicodedata.category(one) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(one) in "WF" else 1


class Format(Protocol):
    """What a text is shown as: a head, its tokens in order, a foot."""

    head: str
    foot: str

    def token(self, number: int, i: int, token: bytes) -> str:
        """Return what shows the token, of this number in the text and of id `i`."""


class Color:
    """On a terminal: a background for each token, in turn; a line ends where the text's does."""

    head, foot = "", ""

    def token(self, number: int, i: int, token: bytes) -> str:
        """Return the token as it is shown."""
        shown = "\\n\x1b[0m\n".join(map(readable, token.split(b"\n")))
        background = ANSI_BACKGROUNDS[number % N_COLORS]
        return f"\x1b[38;5;16;48;5;{background}m{shown}\x1b[0m"


class Html:
    """A page on which each token has a background and tells its id when pointed at."""

    head = (
        '<!doctype html>\n<meta charset="utf-8">\n<title>Tokens</title>\n<style>\n'
        "body { font: 16px/1.7 monospace; white-space: pre-wrap; }\n"
        + "".join(f".t{k} {{ background: {HTML_BACKGROUNDS[k]}; }}\n" for k in range(N_COLORS))
        + "</style>\n<p>"
    )
    foot = "</p>\n"

    def token(self, number: int, i: int, token: bytes) -> str:
        """Return the token as it is shown."""
        text = html.escape("\\n\n".join(map(readable, token.split(b"\n"))))
        return f'<span class="t{number % N_COLORS}" title="{i}">{text}</span>'


class Text:
    """A line for each token: its id, a tab, its text."""

    head, foot = "", ""

    def token(self, number: int, i: int, token: bytes) -> str:
        """Return the token as it is shown."""
        return f"{i}\t{readable(token)}\n"


FORMATS: dict[str, type[Format]] = {"color": Color, "html": Html, "text": Text}
