"""`gpt2 generate`: continue prompts."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from gpt2.cli.model_flags import EngineFlags
from gpt2.cli.parsing import UsageError, parse
from gpt2.cli.prompts import STDIN, Prompt, read_prompt, read_prompts
from gpt2.config import GenerationConfig
from gpt2.errors import Gpt2Error, InputError

if TYPE_CHECKING:
    from gpt2.files.pretrained import GPT2


@dataclass(frozen=True, kw_only=True)
class Generate:
    """Continue a prompt, and print prompt and continuation."""

    prompt: tyro.conf.Positional[str] = STDIN
    """Text to continue; - for the text on stdin; an empty one stands for <|endoftext|>."""
    file: Path | None = None
    """Continue each line of a file; with a name in .jsonl, the "prompt" of each line's object, a
    text or token ids. - for the lines on stdin."""
    interactive: bool = False
    """Go on with the text by turns with you; /help lists the commands."""
    color: bool = False
    """Show each token's probability by its color."""
    json: bool = False
    """Print one JSON object a sample."""
    stats: bool = False
    """Print tokens and seconds on stderr."""
    sampling: Annotated[GenerationConfig, tyro.conf.arg(name="")] = field(
        default_factory=GenerationConfig
    )
    run_on: Annotated[EngineFlags, tyro.conf.arg(name="")] = field(default_factory=EngineFlags)

    def run(self) -> None:
        """Load the model, and write the samples."""
        self._check()
        if self.interactive:
            self._interact()
            return
        prompts = [read_prompt(self.prompt)] if self.file is None else read_prompts(self.file)
        model = self.run_on.load()
        listed = [(prompt, _ids(model, prompt)) for prompt in prompts]
        self._write(model, listed)

    def _check(self) -> None:
        """Raise UsageError for flags that do not go together."""
        if self.file is not None and (self.prompt != STDIN or self.interactive):
            other = "--interactive" if self.interactive else "a prompt"
            raise UsageError(f"wanted one of --file and {other}, got both; leave one out")
        if self.json and (self.interactive or self.color):
            other = "--interactive" if self.interactive else "--color"
            raise UsageError(f"wanted one of --json and {other}, got both; leave one out")
        if self.interactive and self.sampling.num_samples != 1:
            raise UsageError(
                "--interactive writes one text, got --num-samples "
                f"{self.sampling.num_samples}; leave it out"
            )

    def _interact(self) -> None:
        from gpt2.cli.interactive import Session

        model = self.run_on.load()
        engine = self.run_on.engine(model, most_texts=2)  # room for the text of the turn before
        self._explain_colors()
        opening = None if self.prompt == STDIN else self.prompt
        Session(model, engine, self.sampling, color=self.color, stats=self.stats).run(opening)

    def _write(self, model: "GPT2", prompts: list[tuple[Prompt, list[int]]]) -> None:
        from gpt2.cli import sample_output
        from gpt2.generation.engine import MOST_TEXTS
        from gpt2.progress import log

        samples = range(self.sampling.num_samples)
        count = len(prompts) * len(samples)
        engine = self.run_on.engine(model, min(count, MOST_TEXTS))
        output = sample_output.Counted(
            sample_output.JsonOutput()
            if self.json
            else sample_output.TextOutput(model, separated=count > 1, color=self.color)
        )
        self._explain_colors()
        submitted = (
            (prompt, engine.submit(ids, self.sampling, sample))
            for prompt, ids in prompts
            for sample in samples
        )
        with _whole_last_line():
            sample_output.write_in_order(engine, submitted, output)
        if output.restarts:
            sample_output.say_restarted(model)
        if self.stats:
            log(str(output))

    def _explain_colors(self) -> None:
        from gpt2.cli.token_colors import legend
        from gpt2.progress import log

        if self.color:
            log(legend())


def _ids(model: "GPT2", prompt: Prompt) -> list[int]:
    """Return the tokens of a prompt; an error names the line that it stands in."""
    from gpt2.generation.generate import prompt_ids

    try:
        return prompt_ids(model, prompt.content)
    except InputError as error:
        raise InputError(f"{prompt.source}: {error}" if prompt.source else str(error)) from None


@contextmanager
def _whole_last_line() -> Iterator[None]:
    """End the line on a terminal if the text is interrupted, so that what follows has its own."""
    try:
        yield
    except (KeyboardInterrupt, Gpt2Error):
        if sys.stdout.isatty():
            print(flush=True)
        raise


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    parse(Generate, args, verb="generate").run()
