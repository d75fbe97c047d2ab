"""The errors of this package: one base, so that a caller can catch all of them at once."""


class TokenizerError(ValueError):
    """A caller's mistake, told as: what was wanted, what came, what to do."""


class UnknownTokenError(TokenizerError, KeyError):
    """A token, or an id, that the vocabulary does not hold."""

    __str__ = ValueError.__str__  # KeyError's shows the message in quotes
