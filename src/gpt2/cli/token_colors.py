"""Colors for tokens, by their probability: from red for unlikely ones to green for likely ones.

A background with black letters can be read on light and on dark terminals, and shows spaces, too.
"""

# Probabilities from which on each color is used, and its number among the 256 of terminals.
SCALE = ((0.0, 203), (0.01, 209), (0.05, 215), (0.2, 221), (0.5, 185), (0.8, 113))


def colored(text: str, probability: float) -> str:
    """Return the text in its color; line breaks stay without, which would fill the line's rest."""
    color = next(color for least, color in reversed(SCALE) if probability >= least)
    return "\n".join(_on(color, line) if line else "" for line in text.split("\n"))


def legend() -> str:
    """Return a line that says what the colors mean."""
    steps = [*(least for least, _ in SCALE[1:]), None]
    parts = [
        _on(color, f" {least:.0%} to {end:.0%} " if end else f" {least:.0%} and above ")
        for (least, color), end in zip(SCALE, steps, strict=True)
    ]
    return "probability of a token: " + "".join(parts)


def _on(color: int, text: str) -> str:
    return f"\x1b[30;48;5;{color}m{text}\x1b[0m"
