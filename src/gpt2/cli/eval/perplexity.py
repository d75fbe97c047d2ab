"""`gpt2 eval perplexity`: how well a model predicts a text."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gpt2.cli.eval.flags import EvaluationFlags
from gpt2.errors import DataError

if TYPE_CHECKING:
    from gpt2.evaluate.measure import Measure
    from gpt2.evaluate.results import Result
    from gpt2.evaluate.scoring import Scorer

STDIN = Path("-")


@dataclass(frozen=True, kw_only=True)
class Perplexity(EvaluationFlags):
    """Print how well a model predicts a text, in the units that papers use."""

    data: Path
    """A UTF-8 text file; - for stdin; or a folder of gpt2 prepare, for its held-out text."""
    stride: int | None = None
    """Tokens that each window but the first scores; half of the context if not given."""

    def run(self) -> None:
        """Load the model, score the text and print the figures."""
        from gpt2.data.shard_folder import open_shards
        from gpt2.evaluate.perplexity import as_text, held_out_text, perplexity

        held_out = open_shards(self.data) if self.data.is_dir() and self.data != STDIN else None
        text = "" if held_out else _read(self.data)

        def work(scorer: "Scorer", measure: "Measure") -> "Result":
            model = scorer.model
            if held_out:
                texts = [held_out_text(model, held_out)]
            else:
                texts = [as_text(text, model.require_tokenizer())]
            return perplexity(scorer, texts, stride=self.stride, measure=measure).to_result()

        self.measured("perplexity", [(str(self.data), "")], work, unit="tokens")


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
