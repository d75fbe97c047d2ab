"""`gpt2 eval`: measure a model."""

import dataclasses
import json
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpt2.cli.eval_run import Run
from gpt2.cli.model_flags import ModelFlags
from gpt2.cli.parsing import parse_one_of
from gpt2.errors import DataError

if TYPE_CHECKING:
    from gpt2.evaluate.perplexity import Show


STDIN = Path("-")
SECONDS_OF_PATIENCE = 2.0
COMPILING = "tokenizing; at its first use on a machine the tokenizer is compiled, some 15 s"


@dataclass(frozen=True, kw_only=True)
class Perplexity(ModelFlags):
    """Print how well a model predicts a text, in the units that papers use."""

    data: Path
    """A UTF-8 text file; - for stdin; or a folder of gpt2 prepare, for its held-out text."""
    json: bool = False
    """Print one JSON object, null where a figure is beyond the range of a float."""

    def run(self) -> None:
        """Load the model, score the text and print the figures."""
        from gpt2.data.shard_folder import open_shards
        from gpt2.evaluate.perplexity import held_out_perplexity, text_perplexity

        if self.data != STDIN and self.data.is_dir():
            held_out = open_shards(self.data)
            with _display() as show:
                found = held_out_perplexity(self.load(), held_out, show=show)
            about = f"held-out text of {self.data}"
        else:
            text = _read(self.data)
            model = self.load()
            with _display() as show:
                found = text_perplexity(model, text, show=show)
            about = "stdin" if self.data == STDIN else str(self.data)
        self._print(dataclasses.asdict(found), about)

    def _print(self, figures: dict[str, int | float], about: str) -> None:
        if self.json:
            finite = {name: x if math.isfinite(x) else None for name, x in figures.items()}
            print(json.dumps(finite))
            return
        print(f"# {about}, after <|endoftext|>, in windows that overlap by half; words are what")
        print("# white space separates; the text is read as it is")
        for name, value in figures.items():
            print(f"{name:20} {value:,}" if isinstance(value, int) else f"{name:20} {value:.4f}")


@contextmanager
def _display() -> "Iterator[Show]":
    """Show on stderr how many tokens are scored, and that tokenizing takes long if it does."""
    from gpt2.progress import display, log

    started = time.perf_counter()
    notice = threading.Timer(SECONDS_OF_PATIENCE, log, [COMPILING])
    notice.daemon = True
    notice.start()
    try:
        with display(1.0, "{:.0%}".format) as progress:

            def show(done: int, total: int) -> None:
                notice.cancel()
                if done:
                    seconds = time.perf_counter() - started
                    progress.update(done / total, f"{done:,} of {total:,} tokens", seconds)

            yield show
    finally:
        notice.cancel()


def _read(data: Path) -> str:
    """Return the text of a file, a pipe or stdin.

    Raises:
        DataError, TokenizerError: It cannot be read, is empty, or is not text.
    """
    from gpt2.prepare.file_formats import read_text
    from llm_tokenizer.text_files import text_parts

    from_stdin = data == STDIN
    if data.is_file() and not from_stdin:
        return read_text(data)
    text = "".join(text_parts(None if from_stdin else data))
    name = "stdin" if from_stdin else data
    if not text.strip():
        raise DataError(f"{name} is empty: wanted some text")
    if "\0" in text:
        raise DataError(f"{name} must be text: it has a NUL, as in binary files")
    return text


def main(args: Sequence[str]) -> None:
    """Run the verb."""
    parse_one_of({"perplexity": Perplexity, "run": Run}, args, verb="eval").run()
