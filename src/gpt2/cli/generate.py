"""`gpt2 generate`: continue a prompt."""

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from gpt2.cli.model_flags import ModelFlags
from gpt2.cli.parsing import parse
from gpt2.cli.streams import printable
from gpt2.config import GenerationConfig


@dataclass(frozen=True, kw_only=True)
class Generate(ModelFlags):
    """Continue a prompt, and print prompt and continuation."""

    prompt: tyro.conf.Positional[str]
    """Text to continue."""
    json: bool = False
    """Print one JSON object a sample."""
    sampling: Annotated[GenerationConfig, tyro.conf.arg(name="")] = field(
        default_factory=GenerationConfig
    )

    def run(self) -> None:
        """Load the model, draw the samples and print them."""
        from gpt2.generation.generate import generate

        model = self.load()
        started = time.perf_counter()
        samples = generate(model, [self.prompt], self.sampling)
        seconds = time.perf_counter() - started
        for sample in samples:
            if self.json:
                entries = dataclasses.asdict(sample) | {"prompt": self.prompt, "seconds": seconds}
                del entries["prompt_ids"]
                print(json.dumps(entries))
            else:
                text = self.prompt + sample.text
                print(printable(text) if sys.stdout.isatty() else text)
                if len(samples) > 1:
                    print("---")


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    parse(Generate, args, verb="generate").run()
