"""`gpt2 eval perplexity`: how well a model predicts a text."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from gpt2.cli.eval.flags import EvaluationFlags
from gpt2.errors import ConfigError

if TYPE_CHECKING:
    from gpt2.evaluate.measure import Measure
    from gpt2.evaluate.results import Result
    from gpt2.evaluate.scoring import Scorer


@dataclass(frozen=True, kw_only=True)
class Perplexity(EvaluationFlags):
    """Print how well a model predicts a text, in the units that papers use."""

    data: tuple[str, ...] = ()
    """Files: text, .jsonl, .parquet, or .bin token shards; - for stdin; or a folder of
    gpt2 prepare, for its held-out text. With --dataset alone, what the hub has of it."""
    dataset: Literal["wikitext103", "wikitext2", "ptb", "enwik8", "text8", "lambada"] | None = None
    """The data are this test set of the GPT-2 paper: they are detokenized, and the paper's numbers
    are printed beside the figure that they are to be compared with."""
    text_column: str | None = None
    """Column of a parquet file, or key of a JSON line, that holds a text; text if not given."""
    stride: int | None = None
    """Tokens that each window but the first scores; half of the context if not given. With the
    whole context, figures are lm-eval's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.data and self.dataset is None:
            raise ConfigError("the options --data or --dataset are required")

    def run(self) -> None:
        """Read the data, score them, and print the figures."""
        from gpt2.evaluate.corpora import CORPORA, Corpus
        from gpt2.evaluate.perplexity import checked_stride, perplexity
        from gpt2.evaluate.texts import read_data

        corpus = CORPORA[self.dataset] if self.dataset else Corpus()
        if self.text_column is not None:
            corpus = replace(corpus, document_column=self.text_column, line_column=None)
        texts, files = read_data(self.data, corpus)

        def work(scorer: "Scorer", measure: "Measure") -> "Result":
            longest = scorer.model.config.n_positions
            stride = checked_stride(self.stride, longest)
            found = perplexity(scorer, texts(scorer.model), stride=stride, measure=measure)
            windows = f"windows of {longest} tokens, {stride} scored in each after the first"
            return found.to_result(
                references=corpus.references,
                notes=[
                    corpus.note
                    if corpus.scores_last_word
                    else f"{corpus.note}; after <|endoftext|>",
                    f"{windows}; words are what white space separates, as lm-eval counts them",
                ],
            )

        self.measured("perplexity", files, work, unit="tokens")
