"""`gpt2 eval run`: a run beside what is known of its recipe."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

if TYPE_CHECKING:
    from gpt2.train.normality.verdict import Verdict


@dataclass(frozen=True, kw_only=True)
class Run:
    """Set a run beside what is known of its recipe: is its loss normal, and if not, why?"""

    directory: tyro.conf.Positional[Path]
    """Run directory; the run may still be going on."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> None:
        """Read the run, and print its figures and the verdict."""
        from gpt2.train.normality.verdict import judge

        verdict = judge(self.directory)
        if self.json:
            print(json.dumps(dataclasses.asdict(verdict)))
        else:
            _print(verdict)


def _print(verdict: "Verdict") -> None:
    if verdict.figures:
        width = max(len(figure.name) for figure in verdict.figures)
        print(f"{'figure':{width}} {'this run':>10}  known range")
        for figure in verdict.figures:
            print(f"{figure.name:{width}} {figure.value:10.4g}  {figure.known or ''}".rstrip())
        print()
    print(verdict.line)
