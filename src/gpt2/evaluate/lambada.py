"""LAMBADA: whether a model knows the last word of a passage, which needs the whole passage.

Source: Paperno et al. 2016, arXiv:1606.06031. How OpenAI measured GPT-2 on it, its authors
describe in openai/gpt-2#131 on GitHub: on the text before tokenization, with straight quotes, and
by the last token alone, which is a part of some words.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from gpt2.errors import DataError
from gpt2.evaluate.cloze import gap, numbers_of, predicted
from gpt2.evaluate.data_files import DataRow, HubFile, read_rows, text_at
from gpt2.evaluate.measure import Measure, measure
from gpt2.evaluate.packing import Question
from gpt2.evaluate.references import of_sizes
from gpt2.evaluate.results import Result
from gpt2.evaluate.scoring import Scorer
from gpt2.prepare.file_formats import read_text
from llm_tokenizer import Tokenizer

ON_HUB = HubFile("EleutherAI/lambada_openai", "default/test")

LM_EVAL = "lm-eval 124M"
# The paper's table 3. It has one accuracy, with a stop-word filter (its section 3.3).
PAPER = {
    "last_token_accuracy_filtered": (0.4599, 0.5548, 0.6012, 0.6324),
    "perplexity": (35.13, 15.60, 10.87, 8.63),
}
REFERENCES: dict[str, dict[str, float]] = {
    "accuracy": {LM_EVAL: 0.3256},
    **{name: of_sizes(*values) for name, values in PAPER.items()},
}
REFERENCES["perplexity"][LM_EVAL] = 40.06

# Words of grammar, which rarely end a passage of LAMBADA: articles and determiners, pronouns,
# prepositions, conjunctions, auxiliary verbs, and some adverbs. OpenAI's list is not public.
_WORDS = """
    a an the this that these those each every either neither some any no all both few more most much
    such other another own same
    i me my myself we us our ours ourselves you your yours yourself yourselves he him his himself
    she her hers herself it its itself they them their theirs themselves who whom whose which what
    about above across after against along among around as at before below between beyond by down
    during for from in into of off on onto out over since than through to toward towards under until
    up upon with within without
    and or but nor so yet if because although though while when where whether why how unless once
    am is are was were be been being have has had having do does did doing can could may might must
    shall should will would
    not very too just only even also then there here now again
"""
STOP_WORDS = frozenset(_WORDS.split())
STOP_WORD_NOTE = (
    "stop words: a token that is one, with the space before it, is not taken for the likeliest "
    "first token of the last word; perplexity is without the filter"
)

QUOTES_NOTE = "the text as OpenAI prepared it, with straight quotes"
DETOKENIZED_NOTE = "plain text, taken for the original release: it was detokenized"

# The original release has its text tokenized: words and punctuation between spaces.
_JOINED = [
    (r"`` ?| ?''", '"'),
    (r" (n't|'(?:s|m|d|re|ve|ll))\b", r"\1"),
    (r" ([.,!?;:%)\]])", r"\1"),
    (r"([(\[$]) ", r"\1"),
]


def lambada(
    scorer: Scorer,
    rows: Iterable[tuple[str, str]],
    *,
    stop_words: bool = False,
    notes: tuple[str, ...] = (),
    measure: Measure = measure,
) -> Result:
    """Measure how well a model predicts the last word of passages.

    Args:
        scorer: Scores the words.
        rows: Each passage after its place.
        stop_words: Whether a stop word is never taken for the predicted word.
        notes: Lines on how the passages were read.
        measure: How the questions are scored.
    Raises:
        DataError: A passage has one word alone or a very long one, or there is no passage.
        NotFiniteError: A loss is not finite.
    """
    tokenizer = scorer.model.require_tokenizer()
    questions = [(place, last_word(place, text, tokenizer)) for place, text in rows]
    if stop_words:
        scorer = scorer.without(stop_word_ids(tokenizer))
        notes = (*notes, STOP_WORD_NOTE)
    nats, is_greedy, last_is_greedy = numbers_of(scorer, questions, measure).T
    suffix = "_filtered" * stop_words
    hits = {f"accuracy{suffix}": is_greedy, f"last_token_accuracy{suffix}": last_is_greedy}
    return predicted("lambada", nats, hits, references=REFERENCES, notes=notes)


def passages(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the passages of a file, each after its place.

    Args:
        path: JSON lines or parquet with a "text", as OpenAI's and the hub's; or plain text, a
            passage a line, as the original release, which is detokenized.
    Raises:
        DataError: The file cannot be read, or a row has no text.
    """
    if is_original(path):
        for number, line in enumerate(read_text(path).split("\n"), 1):
            if line.strip():
                yield f"{path}, line {number}", detokenized(line)
        return
    for place, row in read_rows(path):
        yield place, passage(place, row)


def reading_notes(names: Iterable[str]) -> tuple[str, ...]:
    """Return a line on how files with some names are read."""
    is_plain = any(is_original(Path(name)) for name in names)
    return (DETOKENIZED_NOTE,) if is_plain else (QUOTES_NOTE,)


def is_original(path: Path) -> bool:
    """Return whether a file is plain text, as the original release."""
    return path.suffix == ".txt"


def passage(place: str, row: DataRow) -> str:
    """Return the text of a row with straight quotes, as OpenAI prepared it.

    Raises:
        DataError: The row has no text.
    """
    return straightened(text_at(place, row, "text"))


def straightened(text: str) -> str:
    """Return a text with straight quotes, and without white space at its ends."""
    return re.sub("[“”]", '"', text).strip()


def detokenized(line: str) -> str:
    """Return a line of the original release as one would write it.

    >>> detokenized("`` i do n't , '' he said , `` it 's no good")
    '"i don\\'t," he said, "it\\'s no good'
    """
    text = line.strip()
    for pattern, joined in _JOINED:
        text = re.sub(pattern, joined, text)
    return text


def last_word(place: str, text: str, tokenizer: Tokenizer) -> Question:
    """Return the question which word comes last, at the last space as in lm-eval.

    Raises:
        DataError: The passage has one word alone.
    """
    context, space, word = text.rpartition(" ")
    if not (context and word):
        raise DataError(f"{place} must be a passage of two words or more, got {text!r}")
    return gap(place, context, space + word, tokenizer)


def stop_word_ids(tokenizer: Tokenizer) -> list[int]:
    """Return the ids of the tokens that are a stop word after a space, in any case."""
    return [
        token_id
        for token, token_id in tokenizer.vocabulary.token_ids.items()
        if token[:1] == b" " and token[1:].decode(errors="replace").lower() in STOP_WORDS
    ]
