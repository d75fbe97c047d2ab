"""How well a model predicts texts: perplexity, in every convention that papers use.

A model sees n_positions tokens at once. A longer text is read in windows: the first scores all its
tokens, each later one the next `stride` tokens, after as many earlier ones as still fit. So each
token is scored once, and with a stride of n_positions windows and figures are lm-eval's.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpt2.data.shard_folder import TokenData
from gpt2.data.shards import Tokens
from gpt2.errors import ConfigError, DataError, InputError
from gpt2.evaluate.bootstrap import resampled_means
from gpt2.evaluate.measure import Measure, measure
from gpt2.evaluate.packing import Ids, Question
from gpt2.evaluate.results import Result
from gpt2.evaluate.scoring import Scorer
from gpt2.files.pretrained import GPT2
from llm_tokenizer import Tokenizer, well_formed


@dataclass(frozen=True, kw_only=True)
class Text:
    """A text as token ids, and its lengths, which may be those of another form of it."""

    ids: Ids
    given: int = 1  # the first ones are read and not scored: <|endoftext|>, if nothing else
    bytes: int  # of UTF-8
    characters: int
    words: int


@dataclass(frozen=True, kw_only=True)
class Perplexity:
    """How well a model predicts some texts; all figures follow from the same sum of nats."""

    figures: dict[str, float]  # see `conventions`
    standard_errors: dict[str, float | None]  # None: there is one window alone
    tokens: int
    bytes: int
    characters: int
    words: int
    texts: int

    def to_result(
        self, references: dict[str, dict[str, float]] | None = None, notes: Sequence[str] = ()
    ) -> Result:
        """Return it as the result of an evaluation."""
        names = ("tokens", "bytes", "characters", "words", "texts")
        return Result(
            evaluation="perplexity",
            counts={name: getattr(self, name) for name in names},
            figures=self.figures,
            standard_errors=self.standard_errors,
            references=references or {},
            notes=tuple(notes),
        )


def perplexity(
    scorer: Scorer, texts: Sequence[Text], *, stride: int | None = None, measure: Measure = measure
) -> Perplexity:
    """Measure a model on texts, none of which sees another.

    Args:
        scorer: Scores the windows.
        texts: At least one has a token to score.
        stride: Tokens that each window but the first of a text scores; half of n_positions if None.
        measure: How the windows are scored.
    Raises:
        InputError: No text has a token to score.
        ConfigError: The stride is not 1 to n_positions.
        NotFiniteError: A loss is not finite.
    """
    longest = scorer.model.config.n_positions
    stride = checked_stride(stride, longest)
    windows = [
        (number, question)
        for number, text in enumerate(texts)
        for question in windows_of(text.ids, text.given, longest, stride)
    ]
    if not windows:
        raise InputError("the text is empty: wanted at least one token to predict")
    questions = [question for _, question in windows]
    scored = [len(question.continuations[0]) for question in questions]
    sums = measure(
        scorer, questions, lambda _, scores: [score.total for score in scores], weights=scored
    )
    owners = np.array([number for number, _ in windows])
    nats = np.array(sums)[:, 0]
    return summarize(texts, owners, np.stack([nats, scored], axis=1))


def summarize(
    texts: Sequence[Text], owners: NDArray[np.int64], windows: NDArray[np.float64]
) -> Perplexity:
    """Return every figure from the windows of some texts.

    Standard errors are those of the bootstrap over texts or, of one text, over its windows, each of
    which is taken to have its share of the text's lengths.

    Args:
        texts: Their lengths count.
        owners: Number of the text that each window is of, (N,).
        windows: Nats and tokens of each, (N, 2).
    """
    lengths = np.array([[text.bytes, text.characters, text.words] for text in texts])
    if len(texts) == 1:
        share = windows[:, 1:] / windows[:, 1].sum()
        blocks = np.concatenate([windows, share * lengths], axis=1)
    else:
        sums = np.zeros((len(texts), 2))
        np.add.at(sums, owners, windows)
        blocks = np.concatenate([sums, lengths], axis=1)
    # A text may have no byte, and a figure may be beyond the range of a float.
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        figures = {name: float(x) for name, x in conventions(blocks.sum(axis=0)).items()}
        errors: dict[str, float | None] = dict.fromkeys(figures)
        if len(blocks) > 1:
            drawn = conventions(resampled_means(blocks))
            errors = {name: float(values.std(ddof=1)) for name, values in drawn.items()}
    size, characters, words = lengths.sum(axis=0).tolist()
    return Perplexity(
        figures=figures,
        standard_errors=errors,
        tokens=int(windows[:, 1].sum()),
        bytes=size,
        characters=characters,
        words=words,
        texts=len(texts),
    )


def conventions(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return each figure, by its name.

    Args:
        sums: Nats, tokens, bytes, characters and words of some texts, or their means, (..., 5).
    """
    nats, tokens, size, characters, words = np.moveaxis(sums, -1, 0)
    return {
        "nats_per_token": nats / tokens,  # mean negative log-likelihood
        "token_perplexity": _exp(nats / tokens),  # depends on the tokenizer
        "bits_per_byte": nats / size / math.log(2),  # of UTF-8: comparable between tokenizers
        "bits_per_character": nats / characters / math.log(2),
        "word_perplexity": _exp(nats / words),
    }


def token_nats(scorer: Scorer, ids: Ids, *, stride: int | None = None) -> NDArray[np.float64]:
    """Return the negative log-likelihood of each token but the first, in nats, (N,) -> (N - 1,)."""
    longest = scorer.model.config.n_positions
    questions = list(windows_of(ids, 1, longest, checked_stride(stride, longest)))
    found = {number: scores[0].nats for number, scores in scorer.score(questions)}
    return np.concatenate([found[number] for number in range(len(questions))])


def windows_of(ids: Ids, given: int, longest: int, stride: int) -> Iterator[Question]:
    """Yield the windows of a text: each scores the tokens that follow its context.

    Args:
        ids: Tokens of the text, (N,).
        given: The first ones, at least one, which are not scored.
        longest: Tokens that the model reads at once.
        stride: Tokens that a window scores, once the text is longer than a window.
    """
    scored = given
    while scored < len(ids):
        end = min(len(ids), max(scored + stride, longest + 1))
        start = max(0, end - 1 - longest)  # the last token is only predicted
        yield Question(ids[start:scored], [ids[scored:end]])
        scored = end


def checked_stride(stride: int | None, longest: int) -> int:
    """Return a stride, half of the context if None.

    Raises:
        ConfigError: It is not 1 to the length of the context.
    """
    if stride is None:
        return max(1, longest // 2)
    if not 1 <= stride <= longest:
        raise ConfigError(f"stride must be 1 to {longest}, the context of the model, got {stride}")
    return stride


def as_text(text: str, tokenizer: Tokenizer, *, before: str | None = None) -> Text:
    """Return a text as a model reads it, after <|endoftext|>.

    Args:
        text: Special tokens in it are read as ordinary text.
        tokenizer: Of the model.
        before: The text before it was detokenized, whose lengths count.
    Raises:
        UnknownTokenError: The tokenizer has no <|endoftext|>.
    """
    counted = well_formed(text if before is None else before)
    return Text(
        ids=np.array([tokenizer.eot_token, *tokenizer.encode_ordinary(text)]),
        bytes=len(counted.encode()),
        characters=len(counted),
        words=count_words(counted),
    )


def count_words(text: str) -> int:
    """Return how many words white space separates, as lm-eval counts: ends may be empty words."""
    return len(re.split(r"\s+", text))


def held_out_text(model: GPT2, data: TokenData) -> Text:
    """Return the held-out tokens of prepared data, as one text.

    Documents follow one another; their openers are predicted, too, but count neither as bytes nor
    as characters or words. The first token, which opens the first document, is given.

    Raises:
        InputError: The model has no tokenizer, or another one than the data.
        DataError: There are no held-out tokens.
    """
    if model.require_tokenizer().fingerprint != data.tokenizer.fingerprint:
        raise InputError("the data must have the vocabulary of the model, and have another one")
    data.check_ids(model.config.vocab_size)
    if sum(map(len, data.val)) < 2:
        raise DataError("the data must have held-out tokens to measure a model on, and have none")
    return stream_text(np.concatenate(data.val), data.tokenizer)


def stream_text(tokens: Tokens, tokenizer: Tokenizer) -> Text:
    """Return the tokens of shards as one text; its first token is given."""
    text = text_of(tokens[1:], tokenizer)
    characters = text.decode(errors="replace")
    return Text(
        ids=tokens.astype(np.int64),
        bytes=len(text),
        characters=len(characters),
        words=count_words(characters),
    )


def text_of(tokens: Tokens, tokenizer: Tokenizer) -> bytes:
    """Return the text of a shard's tokens, without the document openers."""
    return tokenizer.decode_bytes(tokens[tokens != tokenizer.eot_token].tolist())


def _exp(nats: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(over="ignore"):  # infinity, beyond the range of a float
        return np.exp(nats)
