"""Which tokens of a CORE task's prompts are scored, and after which context.

A prompt is some solved examples and one option of a row. What is scored of it is, in multiple
choice, what follows the tokens that all options share; in a schema, the last tokens that all
options share; in language modelling, what follows the tokens of the prompt without the answer.

Source: nanochat, core_eval.py.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpt2.evaluate.core_bundle import Example, Task
from gpt2.evaluate.packing import Question
from llm_tokenizer import Tokenizer

SHOT_SEED = 1234
BETWEEN = "\n\n"  # after each solved example

TokenIds = NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True)
class Prompt:
    """The prompt of an option as token ids, after <|endoftext|>."""

    ids: TokenIds
    scored: int  # so many of the last ones; none of an option that others begin with


@dataclass(frozen=True)
class Part:
    """Prompts of a row that share a context: as one question, and which they are."""

    question: Question
    options: list[int]  # index in the row of each continuation
    scored: list[int]  # last tokens of each continuation


def shots_of(task: Task, index: int) -> list[Example]:
    """Return the solved examples before a row, which is none of them; all if they are too few."""
    others = range(len(task.examples) - 1)
    drawn = random.Random(SHOT_SEED + index).sample(others, min(task.shots, len(others)))
    return [task.examples[other + (other >= index)] for other in drawn]


def prompts_of(task: Task, index: int, tokenizer: Tokenizer) -> list[Prompt]:
    """Return the prompt of each option of a row.

    Raises:
        UnknownTokenError: The tokenizer has no <|endoftext|>.
    """
    shots = "".join(shot.options[shot.gold] + BETWEEN for shot in shots_of(task, index))
    example = task.examples[index]
    rows = [_encoded(shots + option, tokenizer) for option in example.options]
    if task.kind == "schema":
        scored = common_prefix([row[::-1] for row in rows])
        return [Prompt(row, scored) for row in rows]
    compared = rows
    if task.kind == "language_modeling":
        compared = [_encoded((shots + example.unanswered).strip(), tokenizer), *rows]
    start = common_prefix(compared)
    return [Prompt(row, len(row) - start) for row in rows]


def parts_of(prompts: Sequence[Prompt], longest: int) -> Iterator[Part]:
    """Yield the questions that score the prompts of a row: one, if they share a context.

    A prompt of more tokens than the model reads loses its beginning. What then comes first is not
    scored, as no token predicts it. A prompt that equals an earlier one is left out, as is one of
    which nothing is scored.

    Args:
        prompts: Of the options of the row.
        longest: Tokens that the model reads at once, at least 2.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    seen = set()
    for option, prompt in enumerate(prompts):
        key = prompt.ids.tobytes()
        if prompt.scored and key not in seen:
            seen.add(key)
            cut = max(0, len(prompt.ids) - longest)
            groups.setdefault((cut, int(prompt.ids[cut])), []).append(option)
    for (cut, _), options in groups.items():
        yield _part([prompts[option] for option in options], cut, options)


def _part(prompts: Sequence[Prompt], cut: int, options: list[int]) -> Part:
    """Return the question on some prompts which, without `cut` tokens, begin with the same one."""
    rows = [prompt.ids[cut:] for prompt in prompts]
    scored = [min(prompt.scored, len(prompt.ids) - cut - 1) for prompt in prompts]
    unscored = [len(row) - count for row, count in zip(rows, scored, strict=True)]
    shared = min(common_prefix(rows), *unscored)
    # Copied: a view would keep all tokens of every prompt in memory.
    continuations = [row[shared:].astype(np.int64) for row in rows]
    return Part(Question(rows[0][:shared], continuations), options, scored)


def common_prefix(rows: Sequence[TokenIds]) -> int:
    """Return how many tokens all rows begin with.

    >>> common_prefix([np.array([5, 6, 7], np.uint16), np.array([5, 6], np.uint16)])
    2
    """
    shortest = min(map(len, rows))
    differs = np.zeros(shortest, bool)
    for row in rows[1:]:
        differs |= row[:shortest] != rows[0][:shortest]
    return int(differs.argmax()) if differs.any() else shortest


def _encoded(text: str, tokenizer: Tokenizer) -> TokenIds:
    opener = np.array([tokenizer.eot_token], tokenizer.dtype)
    return np.concatenate([opener, tokenizer.encode_to_array(text)])
