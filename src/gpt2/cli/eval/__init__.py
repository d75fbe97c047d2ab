"""`gpt2 eval`: measure a model."""

from collections.abc import Sequence
from typing import Any

from gpt2.cli.eval.core import Core
from gpt2.cli.eval.harness import Harness
from gpt2.cli.eval.perplexity import Perplexity
from gpt2.cli.eval.run import Run
from gpt2.cli.eval.tasks import Cloze, HellaSwag, Lambada, MultipleChoice
from gpt2.cli.parsing import parse_one_of

EVALUATIONS: dict[str, Any] = {
    "perplexity": Perplexity,
    "hellaswag": HellaSwag,
    "lambada": Lambada,
    "multiple-choice": MultipleChoice,
    "cloze": Cloze,
    "core": Core,
    "harness": Harness,
    "run": Run,
}


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    parse_one_of(EVALUATIONS, args, verb="eval").run()
