"""`gpt2 eval`: measure a model."""

from collections.abc import Sequence

from gpt2.cli.eval.harness import Harness
from gpt2.cli.eval.perplexity import Perplexity
from gpt2.cli.parsing import parse_one_of

EVALUATIONS = {"perplexity": Perplexity, "harness": Harness}


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    parse_one_of(EVALUATIONS, args, verb="eval").run()
