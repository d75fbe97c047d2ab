"""`gpt2 plot`: pictures of a model or a run."""

from collections.abc import Sequence

from gpt2.cli.parsing import parse_one_of
from gpt2.cli.plot.parameters import Embeddings, Norms, Positions, Weights
from gpt2.cli.plot.runs import History, Loss
from gpt2.cli.plot.text import Attention, Flow, Lens, Next, Tokens

PICTURES = {
    "positions": Positions,
    "weights": Weights,
    "attention": Attention,
    "tokens": Tokens,
    "next": Next,
    "lens": Lens,
    "embeddings": Embeddings,
    "norms": Norms,
    "flow": Flow,
    "loss": Loss,
    "history": History,
}


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    parse_one_of(PICTURES, args, verb="plot").run()
