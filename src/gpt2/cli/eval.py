"""`gpt2 eval`: measure a model."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpt2.cli.model_flags import ModelFlags
from gpt2.cli.parsing import parse_one_of


@dataclass(frozen=True, kw_only=True)
class Perplexity(ModelFlags):
    """Print how well a model predicts a text, in the units that papers use."""

    data: Path
    """A UTF-8 text file."""
    json: bool = False
    """Print one JSON object."""

    def run(self) -> None:
        """Load the model, score the text and print the figures."""
        from gpt2.evaluate.perplexity import text_perplexity
        from gpt2.prepare.file_formats import read_text

        text = read_text(self.data)
        figures = dataclasses.asdict(text_perplexity(self.load(), text))
        if self.json:
            print(json.dumps(figures))
            return
        print(
            f"# {self.data}, after <|endoftext|>, in windows that overlap by half; words are what"
        )
        print("# white space separates; the text is read as it is")
        for name, value in figures.items():
            print(f"{name:20} {value:,}" if isinstance(value, int) else f"{name:20} {value:.4f}")


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    parse_one_of({"perplexity": Perplexity}, args, verb="eval").run()
