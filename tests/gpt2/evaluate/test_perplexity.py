"""Perplexity: hand-computed figures, windows, and a plain pass over each window."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from gpt2.errors import ConfigError, InputError
from gpt2.evaluate.perplexity import (
    Perplexity,
    Text,
    as_text,
    count_words,
    perplexity,
    summarize,
    token_nats,
    windows_of,
)
from gpt2.evaluate.scoring import Scorer
from gpt2.files.pretrained import GPT2
from llm_tokenizer import Tokenizer

LN2 = math.log(2)


def a_text(**lengths: int) -> Text:
    return Text(ids=[0], **lengths)


def measured(model: GPT2, *texts: str, **settings: Any) -> Perplexity:
    return perplexity(Scorer(model), [as_text(text, model.tokenizer) for text in texts], **settings)


def random_ids(count: int) -> Sequence[int]:
    return np.random.default_rng(1).integers(0, 299, count)


def test_every_convention_follows_from_the_nats_as_computed_by_hand() -> None:
    # 4 bits in all, over 2 tokens, 2 bytes, 1 character and 1 word.
    text = a_text(bytes=2, characters=1, words=1)
    found = summarize([text], np.array([0]), np.array([[4 * LN2, 2]]))
    assert found.figures == pytest.approx(
        {
            "nats_per_token": math.log(4),
            "token_perplexity": 4,
            "bits_per_byte": 2,
            "bits_per_character": 4,
            "word_perplexity": 16,
        }
    )
    assert (found.tokens, found.bytes, found.characters, found.words, found.texts) == (
        2,
        2,
        1,
        1,
        1,
    )


def test_of_one_window_no_standard_error_is_known() -> None:
    text = a_text(bytes=2, characters=1, words=1)
    found = summarize([text], np.array([0]), np.array([[4 * LN2, 2]]))
    assert set(found.standard_errors.values()) == {None}


def test_the_standard_error_is_that_of_the_mean_of_equal_blocks() -> None:
    # 400 texts of one token: the figure is a mean, whose standard error is deviation / sqrt(n).
    nats = np.random.default_rng(0).normal(3, 0.5, 400)
    texts = [a_text(bytes=4, characters=4, words=1)] * 400
    found = summarize(texts, np.arange(400), np.stack([nats, np.ones(400)], axis=1))
    expected = nats.std() / 20
    assert found.standard_errors["nats_per_token"] == pytest.approx(expected, rel=0.1)
    assert found.standard_errors["bits_per_byte"] == pytest.approx(expected / 4 / LN2, rel=0.1)
    slope = found.figures["token_perplexity"]  # of exp, at the mean
    assert found.standard_errors["token_perplexity"] == pytest.approx(expected * slope, rel=0.1)


def test_windows_of_one_text_are_blocks_with_their_share_of_its_lengths() -> None:
    windows = np.stack([np.random.default_rng(0).normal(300, 50, 400), np.full(400, 100)], axis=1)
    text = a_text(bytes=160_000, characters=160_000, words=40_000)
    found = summarize([text], np.zeros(400, int), windows)
    expected = windows[:, 0].std() / 20 / 100  # a window has 100 tokens, and 400 bytes
    assert found.standard_errors["nats_per_token"] == pytest.approx(expected, rel=0.1)
    assert found.standard_errors["bits_per_byte"] == pytest.approx(expected / 4 / LN2, rel=0.1)


def test_blocks_that_are_alike_leave_no_doubt() -> None:
    texts = [a_text(bytes=4, characters=4, words=1)] * 5
    found = summarize(texts, np.arange(5), np.array([[2.0, 1]] * 5))
    assert found.standard_errors["nats_per_token"] == pytest.approx(0, abs=1e-12)


def test_a_text_is_scored_once_where_two_windows_meet_as_computed_by_hand() -> None:
    # A context of 4, strides of 2, and 9 tokens after the opener 0.
    windows = [
        (list(w.context), list(w.continuations[0])) for w in windows_of(list(range(10)), 1, 4, 2)
    ]
    assert windows == [
        ([0], [1, 2, 3, 4]),
        ([2, 3, 4], [5, 6]),
        ([4, 5, 6], [7, 8]),
        ([5, 6, 7, 8], [9]),  # the last window is as full as the others
    ]


def test_with_a_stride_of_the_whole_context_windows_are_those_of_lm_eval() -> None:
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    for count in range(1, 30):
        ids = list(range(count + 1))
        expected = map(make_disjoint_window, get_rolling_token_windows(ids[1:], 0, 5, 1))
        found = [(w.context, w.continuations[0]) for w in windows_of(ids, 1, 5, 5)]
        assert found == list(expected)


def test_a_model_that_knows_nothing_has_the_perplexity_of_its_vocabulary(model: GPT2) -> None:
    model.wte.weight.data.zero_()
    found = measured(model, "IN NO EVENT SHALL THE AUTHORS BE LIABLE " * 5)
    assert found.figures["token_perplexity"] == pytest.approx(300, rel=1e-5)


@pytest.mark.parametrize("count", [1, 2, 23, 24, 25, 26, 36, 37, 60])
@pytest.mark.parametrize("stride", [1, 7, 12, 24])
def test_each_token_is_scored_once_with_the_context_that_its_window_leaves(
    model: GPT2, count: int, stride: int
) -> None:
    ids = torch.tensor(random_ids(count + 1))
    found = token_nats(Scorer(model), ids.numpy(), stride=stride)
    assert found.shape == (count,)
    for target in range(1, count + 1):
        end = 24 if target <= 24 else min(count, 24 + -(-(target - 24) // stride) * stride)
        context = ids[max(0, end - 24) : target]
        assert len(context) >= min(target, 24 - stride + 1)
        expected = F.cross_entropy(model(context[None])[0, -1:], ids[target : target + 1])
        assert found[target - 1] == pytest.approx(expected.item(), abs=1e-4)


def test_texts_do_not_see_each_other(model: GPT2) -> None:
    texts = ["Permission is hereby granted", "THE SOFTWARE IS PROVIDED", "日本"]
    apart = [measured(model, text) for text in texts]
    together = measured(model, *texts)
    nats = sum(found.figures["nats_per_token"] * found.tokens for found in apart)
    assert together.figures["nats_per_token"] * together.tokens == pytest.approx(nats, rel=1e-5)
    assert together.bytes == sum(found.bytes for found in apart)
    assert together.texts == 3


def test_characters_of_several_bytes_are_counted_as_both(model: GPT2) -> None:
    found = measured(model, "né 日本")
    assert (found.bytes, found.characters, found.words) == (10, 5, 2)
    ratio = found.figures["bits_per_character"] / found.figures["bits_per_byte"]
    assert ratio == pytest.approx(10 / 5)


def test_the_lengths_are_those_of_the_text_before_it_was_detokenized(tokenizer: Tokenizer) -> None:
    text = as_text("a-b", tokenizer, before="a @-@ b")
    assert (text.bytes, text.characters, text.words) == (7, 7, 3)
    assert tokenizer.decode(text.ids[1:].tolist()) == "a-b"


def test_words_are_counted_as_lm_eval_counts_them() -> None:
    assert count_words("one two\n three") == 3
    assert count_words(" one\n") == 3  # the empty ones before and after count


@pytest.mark.parametrize("texts", [[""], ["", ""], []])
def test_texts_without_a_token_are_refused(model: GPT2, texts: list[str]) -> None:
    with pytest.raises(InputError, match="the text is empty: wanted at least one token"):
        measured(model, *texts)


@pytest.mark.parametrize("stride", [0, 25, -1])
def test_a_stride_beyond_the_context_is_refused(model: GPT2, stride: int) -> None:
    with pytest.raises(ConfigError, match=f"stride must be 1 to 24, .* got {stride}"):
        measured(model, "some text", stride=stride)


def test_a_figure_far_beyond_the_range_of_a_float_is_infinite_without_a_warning() -> None:
    nats = np.array([[700.0, 1], [600, 1]])  # exp(700) is finite, its square is not
    texts = [a_text(bytes=1, characters=1, words=1)] * 2
    found = summarize(texts, np.arange(2), nats)
    assert math.isinf(found.standard_errors["word_perplexity"] or 0)
