"""Types of settings: those that TOML and Python give, checked, and their text in TOML."""

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from gpt2.config.checks import check


def typed(name: str, value: Any, kind: Any) -> Any:
    """Return `value` as `kind`: TOML writes 1 for 1.0 and a string for a path."""
    kinds = options(kind)
    if float in kinds and type(value) is int and abs(value) < 2**53:
        return float(value)
    if Path in kinds and isinstance(value, str | Path):
        return Path(value)
    if isinstance(value, list | tuple):
        for entries in (kind for kind in kinds if get_origin(kind) is tuple):
            if set(map(type, value)) <= {get_args(entries)[0]}:
                return tuple(value)
    if isinstance(value, dict):
        for keys, entries in (get_args(kind) for kind in kinds if get_origin(kind) is dict):
            return {
                typed(f"each key of {name}", key, keys): typed(f"{name}[{key!r}]", entry, entries)
                for key, entry in value.items()
            }
    wanted = " or ".join(map(_described, kinds))
    check(type(value) in kinds or value in kinds, f"{name} must be {wanted}", value)
    return value


def check_types(settings: Any, section: str = "") -> None:
    """Raise ConfigError if a value is not of its field's type; choices have a check of their own.

    Args:
        settings: A dataclass.
        section: What to put before the names of its fields, such as "training.".
    """
    for entry in dataclasses.fields(settings):
        if get_origin(entry.type) is not Literal:
            typed(section + entry.name, getattr(settings, entry.name), entry.type)


def options(kind: Any) -> tuple[Any, ...]:
    """Return the types of a union and the values of a Literal; of another type itself."""
    if get_origin(kind) in (tuple, dict) or not get_args(kind):
        return (kind,)
    return tuple(option for part in get_args(kind) for option in options(part))


def toml_text(value: Any) -> str:
    """Return a setting as TOML writes it: as JSON does, except infinity."""
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _described(kind: Any) -> str:
    names = [getattr(part, "__name__", str(part)) for part in get_args(kind) or (kind,)]
    if get_origin(kind) is tuple:
        return f"a list of {names[0]}"
    if get_origin(kind) is dict:
        return f"a table of {names[0]} to {names[1]}"
    return names[0]
