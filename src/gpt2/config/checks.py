"""How settings are checked: a value that does not fit raises ConfigError."""

from collections.abc import Mapping
from typing import Any, get_args

from gpt2.errors import ConfigError


def check(fits: bool, wanted: str, got: object) -> None:
    """Raise ConfigError, with what was wanted and what came, for a value that does not fit."""
    if not fits:
        raise ConfigError(f"{wanted}, got {got!r}")


def check_choice(name: str, value: str, choices: Any) -> None:
    """Raise ConfigError for a value that is none of a Literal's."""
    options = get_args(choices)
    check(value in options, f"{name} must be one of {', '.join(options)}", value)


def check_seed(name: str, seed: int) -> None:
    """Raise ConfigError for a seed that not every generator takes."""
    check(0 <= seed < 2**63, f"{name} must be at least 0 and below 2**63", seed)


def look_up(table: Mapping[str, Any], what: str, name: Any) -> Any:
    """Return the entry of that name, or raise ConfigError with the names there are."""
    if not isinstance(name, str) or name not in table:
        raise ConfigError(f"unknown {what} {name!r}; known: {', '.join(table)}")
    return table[name]
