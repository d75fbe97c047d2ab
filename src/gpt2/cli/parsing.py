"""Typed flags: the arguments of a verb to the dataclass that holds its settings."""

import contextlib
import io
import re
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import tyro

from gpt2.errors import ConfigError, Gpt2Error

LIST_FLAGS = ("attention-blocks", "channels")  # whole numbers, with spaces or commas between
NUMBERS = re.compile(r"\s*-?[0-9]+((\s*,\s*|\s+)-?[0-9]+)*\s*,?\s*")
SHOWN, LONGEST_LINE = 100, 8000  # characters of a word and of an error that are shown


class UsageError(Gpt2Error):
    """Flags that do not go together."""

    exit_code = 2


def parse(
    kind: Any,
    args: Sequence[str],
    *,
    verb: str,
    default: Any = None,
    repeatable: Sequence[str] = (),
) -> Any:
    """Return the dataclass `kind`, filled from the flags in `args`.

    Args:
        kind: A dataclass; its docstrings are the help.
        args: The arguments after the verb.
        verb: Name of the verb, for the help and the error.
        default: An instance of `kind`; flags that are not given leave its values as they are.
        repeatable: Flags, such as "--model", that may be given several times.
    Raises:
        UsageError: A flag is unknown, has a wrong value, or is given twice.
    """
    _check_repeats(args, repeatable)
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(kind, args=_split_lists(args), prog=f"gpt2 {verb}", default=default)
    except ConfigError as error:
        raise UsageError(str(error)) from None
    except SystemExit as exit_:
        if exit_.code:
            message = _message(box.getvalue())
            raise UsageError(f"{message}; see gpt2 {verb} --help") from None
        raise


def parse_one_of(kinds: dict[str, Any], args: Sequence[str], *, verb: str) -> Any:
    """Return the one of several dataclasses that the first argument names, filled from the rest."""
    name = args[0] if args else "nothing"
    if name in kinds:
        return parse(kinds[name], args[1:], verb=f"{verb} {name}")
    if name in ("-h", "--help"):
        print(f"usage: gpt2 {verb} NAME [OPTIONS]   (gpt2 {verb} NAME --help lists its options)\n")
        width = max(12, *(len(known) + 2 for known in kinds))
        for known, kind in kinds.items():
            print(f"  {known:{width}}{kind.__doc__.splitlines()[0]}")
        raise SystemExit(0)
    raise UsageError(f"gpt2 {verb} takes one of {', '.join(kinds)}, got {name}")


def take_flag(args: list[str], flag: str) -> str | None:
    """Remove `flag VALUE` or `flag=VALUE` from `args` and return the value, None if not there.

    Raises:
        UsageError: It is there twice.
    """
    _check_repeats(args)
    for i, arg in enumerate(args):
        if arg == flag and i + 1 < len(args):
            del args[i]
            return args.pop(i)
        if arg.startswith(flag + "="):
            return args.pop(i).removeprefix(flag + "=")
    return None


def one_line(text: str) -> str:
    """Return an error in one line, without the bulk of the values that it cites."""
    words = (word if len(word) <= 2 * SHOWN else word[:SHOWN] + "..." for word in text.split())
    line = " ".join(words)
    return line if len(line) <= LONGEST_LINE else line[:LONGEST_LINE] + "..."


def _check_repeats(args: Sequence[str], repeatable: Sequence[str] = ()) -> None:
    seen = set()
    for arg in takewhile(lambda arg: arg != "--", args):
        if not arg.startswith("--"):
            continue
        flag = arg.partition("=")[0].removeprefix("--").replace("_", "-")
        section, dot, key = flag.rpartition(".")
        name = f"--{section}{dot}{key.removeprefix('no-')}"  # --no-compile and --compile are one
        if name in seen and name not in repeatable:
            raise UsageError(f"{name} is given twice; give it once")
        seen.add(name)


def _split_lists(args: Sequence[str]) -> list[str]:
    """Return the arguments with spaces for the commas of lists: 0 1 for 0,1.

    Raises:
        UsageError: A list has something else than whole numbers.
    """
    split: list[str] = []
    in_list, listed = False, ""
    for arg in args:
        flag, equals, value = arg.partition("=")
        if flag.startswith("--"):
            in_list, listed = flag.replace("_", "-").endswith(LIST_FLAGS), flag
            if in_list and equals:
                split.append(flag)
                arg = value
        if in_list and NUMBERS.fullmatch(arg):
            split += arg.replace(",", " ").split()
        elif in_list and not arg.startswith("-"):
            raise UsageError(
                f"{listed} must be whole numbers with commas or spaces between, got {arg!r}"
            )
        else:
            split.append(arg)
    return split


def _message(box: str) -> str:
    """Return the message of the box that tyro draws around an error, in Unicode or in ASCII."""
    _title, *lines = [line.strip("│ ") for line in box.splitlines()] or [""]
    if lines and lines[0].startswith("---"):  # the ASCII box has a rule below the title
        del lines[0]
    rules = (i for i, line in enumerate(lines) if line.startswith(("─", "╰", "---")))
    message = " ".join(lines[: next(rules, len(lines))])
    return re.sub(r"^Error parsing [\w.]+: ", "", message)  # a class of this program
