"""Published figures of the released models, to be set beside what is measured here."""

SIZES = ("GPT-2 124M", "GPT-2 355M", "GPT-2 774M", "GPT-2 1558M")


def of_sizes(*values: float) -> dict[str, float]:
    """Return the figures of the four sizes by their labels; the later ones may be missing."""
    return dict(zip(SIZES, values, strict=False))
