"""How `llm-tokenizer show` tells tokens apart: by colour, on a page of HTML, or line by line."""

import html
from typing import Protocol

N_COLORS = 6  # enough that neighbours differ, few enough to be pleasant
ANSI_BACKGROUNDS = (153, 151, 223, 183, 217, 187)  # of the 256-colour palette: light ones
HTML_BACKGROUNDS = ("#cde4ff", "#cdeccd", "#ffe3b8", "#e6d3f7", "#ffd3d6", "#e6e6b8")


def readable(token: bytes) -> str:
    """Return a token as text: what is not UTF-8, or what a terminal would act on, is escaped.

    >>> readable(b"caf\\xc3"), readable(b"\\x1b[2J"), readable("naïve".encode())
    ('caf\\\\xc3', '\\\\x1b[2J', 'naïve')
    """
    text = token.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


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
