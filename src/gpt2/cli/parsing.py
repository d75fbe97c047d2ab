"""Typed flags: the arguments of a verb to the dataclass that holds its settings."""

import contextlib
import io
import sys
from collections.abc import Sequence
from typing import Any

import tyro

from gpt2.errors import ConfigError, Gpt2Error


class UsageError(Gpt2Error):
    """Flags that do not go together."""

    exit_code = 2


def parse(kind: Any, args: Sequence[str], *, verb: str, default: Any = None) -> Any:
    """Return the dataclass `kind`, filled from the flags in `args`.

    A wrong flag is told in one line on stderr and ends the process with exit code 2.

    Args:
        kind: A dataclass; its docstrings are the help.
        args: What stands after the verb.
        verb: Name of the verb, for the help and the error.
        default: What flags that are not given leave as it is, an instance of `kind`.
    """
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            return tyro.cli(kind, args=args, prog=f"gpt2 {verb}", default=default)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except SystemExit as exit_:
        if exit_.code:
            print(f"error: {_one_line(told.getvalue())}; see gpt2 {verb} --help", file=sys.stderr)
        raise


def parse_one_of(kinds: dict[str, Any], args: Sequence[str], *, verb: str) -> Any:
    """Return the one of several dataclasses that the first argument names, filled from the rest."""
    name = args[0] if args else "nothing"
    if name in kinds:
        return parse(kinds[name], args[1:], verb=f"{verb} {name}")
    if name in ("-h", "--help"):
        print(f"usage: gpt2 {verb} NAME [OPTIONS]   (gpt2 {verb} NAME --help tells more)\n")
        for known, kind in kinds.items():
            print(f"  {known:12}{kind.__doc__.splitlines()[0]}")
        raise SystemExit(0)
    print(f"error: gpt2 {verb} takes one of {', '.join(kinds)}, got {name}", file=sys.stderr)
    raise SystemExit(2)


def take_flag(args: list[str], flag: str) -> str | None:
    """Remove `flag VALUE` or `flag=VALUE` from `args` and return the value, None if not there."""
    for i, arg in enumerate(args):
        if arg == flag and i + 1 < len(args):
            del args[i]
            return args.pop(i)
        if arg.startswith(flag + "="):
            return args.pop(i).removeprefix(flag + "=")
    return None


def _one_line(box: str) -> str:
    """Return the message of the box that tyro draws around an error, in Unicode or in ASCII."""
    _title, *lines = [line.strip("│ ") for line in box.splitlines()] or [""]
    if lines and lines[0].startswith("---"):  # the ASCII box has a rule below the title
        del lines[0]
    rules = (i for i, line in enumerate(lines) if line.startswith(("─", "╰", "---")))
    return " ".join(lines[: next(rules, len(lines))])
