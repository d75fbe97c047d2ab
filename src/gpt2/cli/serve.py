"""`gpt2 serve`: a completions API, and a page to play with the model."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import tyro

from gpt2.cli.parsing import parse
from gpt2.config import ServeConfig


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Serve models over HTTP: OpenAI's completions API, and a page to play with them."""

    model: str = "gpt2"
    """A model, as of gpt2 generate."""
    settings: Annotated[ServeConfig, tyro.conf.arg(name="")] = field(default_factory=ServeConfig)

    def run(self) -> None:
        """Serve until SIGTERM or Ctrl-C."""
        from gpt2.serve.server import serve

        asyncio.run(serve({self.model: self.model}, self.settings))


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    parse(Serve, args, verb="serve").run()
