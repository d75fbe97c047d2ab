"""HellaSwag: both conventions of a row, and rows that are bad."""

from functools import partial
from typing import Any

import pytest

from gpt2.errors import DataError
from gpt2.evaluate.hellaswag import as_in_lm_eval, checked_row, completion, hellaswag
from gpt2.evaluate.measure import measure
from gpt2.evaluate.packing import Question
from gpt2.evaluate.scoring import Scorer
from gpt2.files.pretrained import GPT2
from llm_tokenizer import Tokenizer

PLACE = "hellaswag_val.jsonl, line 1"
ROW: dict[str, Any] = {
    "ind": 24,
    "activity_label": "Roof removal",
    "ctx_a": "[header] How to sit [title] Find a roof.",
    "ctx_b": "a Man",
    "ctx": "[header] How to sit [title] Find a roof. a Man",
    "endings": ["sits.", "[step] rips  tiles off.", "holds it", "starts."],
    "label": 3,
}


def test_in_completion_style_the_context_is_as_it_is(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode_ordinary
    endings = [ids(" " + ending) for ending in ROW["endings"]]
    item = completion(checked_row(PLACE, ROW), tokenizer)
    assert item.questions == [Question(ids(ROW["ctx"]), endings)]
    assert item.lengths == tuple(map(len, endings))
    assert item.gold == 3


def test_as_in_lm_eval_the_activity_comes_first_and_marks_are_removed() -> None:
    item = as_in_lm_eval(checked_row(PLACE, ROW))
    query = "Roof removal: How to sit. Find a roof. A man"
    choices = ["sits.", " rips tiles off.", "holds it", "starts."]
    assert item.pairs == tuple((query, " " + choice) for choice in choices)
    assert item.lengths == tuple(map(len, choices))


def test_the_hub_has_labels_as_text() -> None:
    assert checked_row(PLACE, ROW | {"label": "2"}).label == 2


def test_each_convention_finds_one_of_the_four_labels_right(model: GPT2) -> None:
    rows = [(PLACE, ROW | {"label": label}) for label in range(4)]
    result = hellaswag(Scorer(model), rows)
    names = ["acc", "acc_norm", "completion_acc", "completion_acc_norm"]
    assert result.figures == dict.fromkeys(names, 0.25)
    assert result.counts == {"rows": 4}
    assert result.references["completion_acc_norm"]["GPT-2 1558M"] == 0.4889


def test_progress_counts_rows_and_not_their_two_conventions(model: GPT2) -> None:
    shown: list[tuple[float, float]] = []
    measuring = partial(measure, show=lambda *numbers: shown.append(numbers))
    hellaswag(Scorer(model), [(PLACE, ROW)] * 3, measure=measuring)
    assert shown[0] == (0, 3)
    assert shown[-1] == (3, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": ""}, "'label' must be 0 to 3, got ''"),  # as the hub has it in the test split
        ({"label": 4}, "'label' must be 0 to 3, got 4"),
        ({"endings": ["a", "b", "c"]}, "'endings' must be 4 texts, none of them empty"),
        ({"endings": ["a", "b", "c", ""]}, "'endings' must be 4 texts, none of them empty"),
        ({"ctx": None}, "'ctx' must be a text, got None"),
    ],
)
def test_a_bad_row_is_named(model: GPT2, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as raised:
        hellaswag(Scorer(model), [(PLACE, ROW | change)])
    assert str(raised.value) == f"{PLACE}: {message}"


def test_an_ending_longer_than_the_model_reads_is_named(model: GPT2) -> None:
    row = ROW | {"endings": ["a", "b", "c", "日" * 30]}
    with pytest.raises(DataError, match=f"^{PLACE}: what is scored must have at most 24 tokens"):
        hellaswag(Scorer(model), [(PLACE, row)])


def test_an_ending_that_is_a_mark_alone_is_never_the_likeliest_for_its_length(model: GPT2) -> None:
    row = ROW | {"endings": ["[header]"] * 3 + ["starts."]}
    assert hellaswag(Scorer(model), [(PLACE, row)]).figures["acc_norm"] == 1


def test_a_missing_key_is_named(model: GPT2) -> None:
    row = {key: value for key, value in ROW.items() if key != "ctx_b"}
    with pytest.raises(DataError, match=f"{PLACE} must have the key 'ctx_b', it has ind, activity"):
        hellaswag(Scorer(model), [(PLACE, row)])
