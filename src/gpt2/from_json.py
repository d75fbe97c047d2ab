"""Parsed JSON to a dataclass, every value checked: a file may be damaged, edited or foreign."""

import dataclasses
import math
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")

NAMES = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "a count, 0 or more",
    float: "a finite number, 0 or more",
}


def read_regular(path: Path) -> str:
    """Return the text of a file, without waiting for a named pipe.

    Raises:
        OSError: There is no such file, or it is none that can be read.
        ValueError: It is not UTF-8.
    """
    if path.exists() and not path.is_file():
        raise OSError(None, "it is no regular file", str(path))
    return path.read_text(encoding="utf-8")


def from_json(kind: type[T], value: object) -> T:
    """Return a dataclass of this kind with the values of a JSON object.

    Args:
        kind: A dataclass. Its fields may be dataclasses, lists, tuples and dicts of them, literals,
            texts, booleans and numbers; an int is a count, and a float is finite, both 0 or more.
        value: What `json.loads` returned.
    Raises:
        ValueError: A key is missing or unknown, or a value is none that its field can hold; it
            names the place.
    """
    built: T = _build(kind, value, "")
    return built


def _build(kind: Any, value: Any, place: str) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, _check(dict, value, place), place)
    if origin is UnionType:
        [some] = (arg for arg in args if arg is not NoneType)
        return None if value is None else _build(some, value, place)
    if origin is Literal:
        if value not in args:
            raise ValueError(f"{place} must be one of {', '.join(args)}, got {value!r}")
        return value
    if origin in (list, tuple):
        return origin(
            _build(args[0], item, _below(place, str(k)))
            for k, item in enumerate(_check(list, value, place))
        )
    if origin is dict:
        return {
            _build(args[0], key, place): _build(args[1], item, _below(place, key))
            for key, item in _check(dict, value, place).items()
        }
    return _check(kind, value, place)


def _build_dataclass(kind: Any, entries: dict[str, Any], place: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if unknown := [key for key in entries if key not in fields]:
        raise ValueError(f"{place or 'it'} has an unknown key, {unknown[0]}")
    if lacking := [key for key in fields if key not in entries]:
        raise ValueError(f"{place or 'it'} lacks {lacking[0]}")
    hints = get_type_hints(kind)
    return kind(
        **{key: _build(hints[key], item, _below(place, key)) for key, item in entries.items()}
    )


def _check(kind: Any, value: Any, place: str) -> Any:
    """Return the value if it is of the kind; a boolean is no number."""
    if kind is float and type(value) in (int, float) and 0 <= value < math.inf:
        return value
    if kind is not float and type(value) is kind and (kind is not int or 0 <= value < 2**63):
        return value
    got = NAMES[type(value)] if isinstance(value, dict | list) else repr(value)
    raise ValueError(f"{place or 'it'} must be {NAMES.get(kind, kind.__name__)}, got {got}")


def _below(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key
