"""Cloze tests and LAMBADA: figures as computed by hand, words and passages."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gpt2.errors import DataError
from gpt2.evaluate.cloze import cloze, predicted
from gpt2.evaluate.lambada import (
    DETOKENIZED_NOTE,
    QUOTES_NOTE,
    lambada,
    last_word,
    passages,
    reading_notes,
    stop_word_ids,
)
from gpt2.evaluate.packing import Question
from gpt2.evaluate.scoring import Scorer
from gpt2.files.pretrained import GPT2
from llm_tokenizer import Tokenizer

PLACE = "rows.jsonl, line 2"


def test_perplexity_is_that_of_the_mean_nats_of_a_continuation() -> None:
    hits = {"accuracy": np.array([1.0, 0.0])}
    result = predicted("cloze", np.array([math.log(2), math.log(8)]), hits)
    assert result.figures == pytest.approx({"accuracy": 0.5, "perplexity": 4})
    assert result.standard_errors["accuracy"] == pytest.approx(0.5)
    # The mean of two draws is ln 2, ln 4 or ln 8, in 1, 2 and 1 of 4 cases: 2, 4, 4 or 8.
    assert result.standard_errors["perplexity"] == pytest.approx(np.std([2, 4, 4, 8]), rel=0.1)


def test_a_figure_of_one_row_has_no_error() -> None:
    result = predicted("cloze", np.array([900.0]), {"accuracy": np.array([0.0])})
    assert result.figures["perplexity"] == math.inf
    assert result.standard_errors == {"accuracy": None, "perplexity": None}


def greedy_text(model: GPT2, context: str) -> str:
    """Return a token that is the likeliest after a context and keeps its ids, as text."""
    tokenizer = model.require_tokenizer()
    ids = tokenizer.encode_ordinary(context)
    with torch.no_grad():
        order = model(torch.tensor([ids]))[0, -1].argsort(descending=True).tolist()
    return tokenizer.decode([order[0]])


def test_what_greedy_decoding_would_write_counts_as_known(model: GPT2) -> None:
    context = next(
        context
        for context in ("of the", "to", "Software", "copies of", "sell", "and to permit")
        if greedy_text(model, context).isascii()
    )
    rows = [(PLACE, {"context": context, "continuation": greedy_text(model, context)})]
    assert cloze(Scorer(model), rows).figures["accuracy"] == 1
    rows += [(PLACE, {"context": context, "continuation": " zq"})]
    assert cloze(Scorer(model), rows).figures["accuracy"] == 0.5


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"context": "a"}, " must have the key 'continuation', it has context"),
        ({"context": "a", "continuation": ""}, ": the continuation must add a token, got ''"),
        ({"context": ["a"], "continuation": "b"}, ": 'context' must be a text, got ['a']"),
    ],
)
def test_a_bad_row_of_a_cloze_test_is_named(model: GPT2, row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as raised:
        cloze(Scorer(model), [(PLACE, row)])
    assert str(raised.value) == PLACE + message


def test_the_last_word_follows_the_last_space(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode_ordinary
    assert last_word(PLACE, "copies of the Software", tokenizer) == Question(
        ids("copies of the"), [ids(" Software")]
    )
    with pytest.raises(
        DataError, match=f"{PLACE} must be a passage of two words or more, got 'of'"
    ):
        last_word(PLACE, "of", tokenizer)


def test_passages_of_openai_get_straight_quotes(tmp_path: Path) -> None:
    path = tmp_path / "lambada_test.jsonl"
    path.write_text('{"text": "“Yes,” he said "}\n', encoding="utf-8")
    assert list(passages(path)) == [(f"{path}, line 1", '"Yes," he said')]
    path.write_text('{"word": "yes"}\n')
    with pytest.raises(DataError, match="line 1 must have the key 'text', it has word"):
        list(passages(path))


def test_passages_of_the_original_release_are_detokenized(tmp_path: Path) -> None:
    path = tmp_path / "lambada_test_plain_text.txt"
    path.write_text("`` he 's ( not ) here , '' she said\n\nwe ca n't go\n", encoding="utf-8")
    assert list(passages(path)) == [
        (f"{path}, line 1", '"he\'s (not) here," she said'),
        (f"{path}, line 3", "we can't go"),
    ]
    assert reading_notes([str(path)]) == (DETOKENIZED_NOTE,)
    assert reading_notes(["a.jsonl"]) == reading_notes([]) == (QUOTES_NOTE,)


def test_a_passage_of_the_original_release_ends_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "lambada_test_plain_text.txt"
    path.write_bytes("one\x0ctwo\u2028three four\r\nfive six".encode())
    assert [place for place, _ in passages(path)] == [f"{path}, line 1", f"{path}, line 2"]
    assert [text.split(" ")[-1] for _, text in passages(path)] == ["four", "six"]


def test_a_word_longer_than_the_model_reads_is_named(model: GPT2) -> None:
    for found in (
        lambda: lambada(Scorer(model), [(PLACE, "of " + "日" * 30)]),
        lambda: cloze(Scorer(model), [(PLACE, {"context": "of", "continuation": "日" * 30})]),
    ):
        with pytest.raises(DataError, match=f"^{PLACE}: what is scored must have at most 24"):
            found()


def test_stop_words_are_whole_words_after_a_space(tokenizer: Tokenizer) -> None:
    stopped = {tokenizer.decode([each]) for each in stop_word_ids(tokenizer)}
    assert {" the", " to"} <= stopped
    assert " Software" not in stopped


def always_predict(model: GPT2, token_id: int) -> None:
    """Make a token the likeliest after every other."""
    with torch.no_grad():
        model.wte.weight[token_id] *= 9
        model.ln_f.weight.zero_()
        model.ln_f.bias.copy_(model.wte.weight[token_id])


def test_a_stop_word_is_not_predicted_where_they_are_left_out(model: GPT2) -> None:
    likeliest = model.require_tokenizer().encode_ordinary(" the")
    assert len(likeliest) == 1
    always_predict(model, likeliest[0])
    rows = [(PLACE, f"copies of {word} the") for word in ("all", "to", "sell")]
    plain = lambada(Scorer(model), rows)
    assert plain.figures["accuracy"] == plain.figures["last_token_accuracy"] == 1
    filtered = lambada(Scorer(model), rows, stop_words=True)
    assert filtered.figures["accuracy_filtered"] == 0
    assert filtered.figures["perplexity"] == plain.figures["perplexity"]
    assert any("stop words" in note for note in filtered.notes)


def test_the_last_token_counts_alone_as_openai_counted(model: GPT2) -> None:
    tokenizer = model.require_tokenizer()
    word = tokenizer.encode_ordinary(" sublicenszz")
    assert len(word) > 1
    always_predict(model, word[-1])
    figures = lambada(Scorer(model), [(PLACE, "copies of sublicenszz")]).figures
    assert (figures["accuracy"], figures["last_token_accuracy"]) == (0, 1)
