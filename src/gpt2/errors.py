"""The errors of this package: one base, so that a caller can catch all of them at once."""


class Gpt2Error(Exception):
    """A caller's mistake or a failure of the machine, in one line: wanted, got, what to do."""

    exit_code = 1  # of the command line
    raised_on_every_rank = False  # of a training run: rank 0 alone prints it


class ConfigError(Gpt2Error, ValueError):
    """A setting that is unknown, out of range, or at odds with another."""


class InputError(Gpt2Error, ValueError):
    """Token ids or a text that the model cannot take."""


class NotFiniteError(Gpt2Error):
    """What a model computes is not finite: its weights have diverged."""


class DataError(Gpt2Error):
    """Text or token shards that are missing, damaged or too few."""


class CheckpointError(Gpt2Error):
    """A model or checkpoint directory that is missing, incomplete or damaged."""


class HubError(Gpt2Error):
    """The Hugging Face hub takes no model: its name, the token, the rights or the network."""
