"""`gpt2 eval`: measure a model."""

from collections.abc import Sequence

from gpt2.cli.eval.perplexity import Perplexity
from gpt2.cli.eval.tasks import Cloze, HellaSwag, Lambada, MultipleChoice
from gpt2.cli.parsing import parse_one_of

EVALUATIONS = {
    "perplexity": Perplexity,
    "hellaswag": HellaSwag,
    "lambada": Lambada,
    "multiple-choice": MultipleChoice,
    "cloze": Cloze,
}


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    parse_one_of(EVALUATIONS, args, verb="eval").run()
