"""`gpt2 watch`: a page that shows runs while they train."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from gpt2.cli.parsing import parse


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Show runs while they train, in a browser."""

    run_directory: tyro.conf.Positional[Path]
    """Run directory."""


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    parse(Watch, args, verb="watch")
