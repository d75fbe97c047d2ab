"""The errors of this package: one base, so that a caller can catch all of them at once."""

MOST_SHOWN = 100  # characters of a value in a message


class TokenizerError(ValueError):
    """A caller's mistake, told as: what was wanted, what came, what to do."""


class UnknownTokenError(TokenizerError, KeyError):
    """A token, or an id, that the vocabulary does not hold."""

    __str__ = ValueError.__str__  # KeyError's shows the message in quotes


def shown(value: object) -> str:
    """Return the repr of a value for a message, cut where it is long.

    >>> shown("x" * 10**6)[-7:]
    'xxxx...'
    """
    return cut(repr(value))


def cut(text: str) -> str:
    """Return a text for a message, cut where it is long."""
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "..."
