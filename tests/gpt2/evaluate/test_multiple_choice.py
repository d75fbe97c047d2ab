"""Multiple choice: hits as computed by hand, pairs as tokens, and rows that are bad."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from gpt2.errors import DataError
from gpt2.evaluate.measure import NumbersOf
from gpt2.evaluate.multiple_choice import (
    Encoded,
    encode_pair,
    encoded,
    hits,
    item_of,
    multiple_choice,
)
from gpt2.evaluate.packing import Question
from gpt2.evaluate.scoring import Score, Scorer
from gpt2.files.pretrained import GPT2
from llm_tokenizer import Tokenizer

PLACE = "rows.jsonl, line 3"


def item(lengths: tuple[int, ...], gold: int) -> Encoded:
    return Encoded(questions=[], lengths=lengths, gold=gold)


@pytest.mark.parametrize(
    ("nats", "lengths", "gold", "expected"),
    [
        ([4.0, 6.0], (2, 6), 0, (1, 0)),  # 2 and 1 nats a character
        ([4.0, 6.0], (2, 6), 1, (0, 1)),
        ([4.0, 4.0], (2, 2), 0, (1, 1)),  # of equal ones the first
        ([4.0, 4.0], (2, 2), 1, (0, 0)),
        ([1.0, 4.0], (0, 2), 1, (0, 1)),  # one without a length
    ],
)
def test_the_choice_with_the_fewest_nats_is_taken(
    nats: list[float], lengths: tuple[int, ...], gold: int, expected: tuple[int, int]
) -> None:
    assert hits(item(lengths, gold), nats) == expected


def test_white_space_at_the_end_of_a_context_begins_the_continuation(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode_ordinary
    assert encode_pair("of the", " Software", tokenizer) == (ids("of the"), ids(" Software"))
    assert encode_pair("of the ", "Software", tokenizer) == (ids("of the"), ids(" Software"))
    assert encode_pair("", "the", tokenizer) == ([tokenizer.eot_token], ids("the"))
    assert encode_pair(" \n", "the", tokenizer) == ([tokenizer.eot_token], ids(" \nthe"))


def test_choices_share_a_question_and_contexts_have_one_each(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode_ordinary
    row = {"query": "of", "choices": ["the", "copies"], "gold": "1"}
    assert encoded(item_of(PLACE, row), tokenizer) == Encoded(
        questions=[Question(ids("of"), [ids(" the"), ids(" copies")])], lengths=(3, 6), gold=1
    )
    row = {"contexts": ["of", "to the"], "continuation": " copies", "gold": 0}
    assert encoded(item_of(PLACE, row), tokenizer) == Encoded(
        questions=[
            Question(ids("of"), [ids(" copies")]),
            Question(ids("to the"), [ids(" copies")]),
        ],
        lengths=(2, 6),
        gold=0,
    )
    row = {"query": "of", "choices": ["the", "copies"], "gold": 1, "delimiter": "\n"}
    assert encoded(item_of(PLACE, row), tokenizer).questions[0].continuations[0] == ids("\nthe")


def test_of_equal_choices_the_first_counts_however_they_are_rounded(model: GPT2) -> None:
    def rounded(
        scorer: Scorer, questions: Sequence[Question], numbers_of: NumbersOf, **_: Any
    ) -> Any:
        scores = [Score(np.array([nats]), np.array([False])) for nats in (4.0, 4.0 - 1e-6, 9.0)]
        return [numbers_of(number, scores) for number in range(len(questions))]

    rows = [
        (PLACE, {"query": "of", "choices": ["the", "the", "sell"], "gold": gold}) for gold in (0, 1)
    ]
    figures = multiple_choice(Scorer(model), rows, measure=rounded).figures
    assert figures == {"acc": 0.5, "acc_norm": 0.5}
    figures = multiple_choice(Scorer(model), rows[:1], measure=rounded).figures
    assert figures == {"acc": 1, "acc_norm": 1}


def test_a_choice_longer_than_the_model_reads_is_named(model: GPT2) -> None:
    row = {"query": "of", "choices": ["the", "日" * 30], "gold": 0}
    with pytest.raises(DataError, match=f"^{PLACE}: what is scored must have at most 24 tokens"):
        multiple_choice(Scorer(model), [(PLACE, row)])


def test_rows_of_both_forms_are_measured_together(model: GPT2) -> None:
    rows: list[tuple[str, dict[str, Any]]] = [
        (PLACE, {"query": "of", "choices": ["the", "copies", "sell"], "gold": gold})
        for gold in range(3)
    ]
    rows += [
        (PLACE, {"contexts": ["of", "to the"], "continuation": " copies", "gold": gold})
        for gold in range(2)
    ]
    result = multiple_choice(Scorer(model), rows)
    assert result.counts == {"rows": 5}
    assert result.figures == pytest.approx({"acc": 2 / 5, "acc_norm": 2 / 5})  # one hit each
    error = np.std([1, 1, 0, 0, 0], ddof=1) / np.sqrt(5)
    assert result.standard_errors == pytest.approx({"acc": error, "acc_norm": error})


GOOD = {"query": "of", "choices": ["the", "copies"], "gold": 0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": 5}, "'query' must be a text, got 5"),
        ({"choices": ["the"]}, " must have two or more choices, none of them empty"),
        ({"choices": ["the", ""]}, " must have two or more choices, none of them empty"),
        ({"choices": []}, "'choices' must be a list of texts, got []"),
        ({"gold": 2}, "'gold' must be 0 to 1, got 2"),
        ({"gold": -1}, "'gold' must be 0 to 1, got -1"),
        ({"delimiter": None}, "'delimiter' must be a text, got None"),
        ({"contexts": ["a", "b"]}, "must have the key 'continuation', it has query, choices"),
        ({"contexts": ["a", "b", "a"], "continuation": "c"}, "the contexts must all differ"),
    ],
)
def test_a_bad_row_is_named(model: GPT2, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as raised:
        multiple_choice(Scorer(model), [("rows.jsonl, line 1", GOOD), (PLACE, GOOD | change)])
    assert str(raised.value).startswith(PLACE)
    assert message in str(raised.value)


def test_a_choice_that_adds_no_token_is_named() -> None:
    tokenizer = Tokenizer.train(["abcd " * 99], 260)  # "abcd" is one token
    assert len(tokenizer.encode_ordinary("abcd")) < len(tokenizer.encode_ordinary("abc"))
    row = {"query": "abc", "choices": ["d", "x"], "gold": 0, "delimiter": ""}
    with pytest.raises(DataError, match=f"{PLACE}: 'd' must add a token to what it continues"):
        encoded(item_of(PLACE, row), tokenizer)


def test_no_rows_are_an_error(model: GPT2) -> None:
    with pytest.raises(DataError, match="the data must have rows, and have none"):
        multiple_choice(Scorer(model), [])
