import math
from dataclasses import replace

import pytest
import torch
from matplotlib.collections import PatchCollection

from gpt2.errors import InputError
from gpt2.files.pretrained import GPT2
from gpt2.visual.capture import record
from gpt2.visual.pictures.tokens import (
    LINE_WIDTH,
    TokensOfText,
    surprisal_bits,
    surprisals,
    tokens_of,
)
from gpt2.visual.token_texts import token_ids
from llm_tokenizer import Tokenizer


def drawn(picture: TokensOfText) -> tuple[list[str], PatchCollection]:
    """Return the texts of a picture, a token and its id in turn, and its boxes."""
    axes = picture.figure().axes[0]
    (boxes,) = axes.collections
    assert isinstance(boxes, PatchCollection)
    return [text.get_text() for text in axes.texts], boxes


def test_surprisal_is_the_logarithm_of_the_probability(model: GPT2) -> None:
    # Id 1 has 2 of 8 parts after the first token, and 1 of 8 after the second.
    logits = torch.tensor([[2, 2, 4, 0], [7, 1, 0, 0], [1, 1, 1, 1]]).log()
    recording = replace(record(model, [0, 1, 1]), logits=logits)
    first, *bits = surprisal_bits(recording)
    assert first is None
    assert bits == pytest.approx([2, 3])


def test_mean_surprisal_is_the_loss_in_bits(model: GPT2) -> None:
    ids = torch.tensor([[5, 80, 290, 17, 17]])
    loss = model.loss(ids[:, :-1], ids[:, 1:]).item()
    bits = surprisal_bits(record(model, ids[0].tolist()))
    assert sum(each or 0 for each in bits) / 4 == pytest.approx(loss / math.log(2), rel=1e-5)


def test_tokens_are_drawn_with_their_ids_in_the_order_of_the_text(model: GPT2) -> None:
    ids = token_ids(model, "Permission $_^é\n")
    texts, boxes = drawn(surprisals(model, record(model, ids)))
    tokenizer = model.require_tokenizer()
    assert texts[1::2] == list(map(str, ids))
    assert texts[0] == tokenizer.decode(ids[:1])
    assert texts[-2] == "\\n"
    assert len(boxes.get_paths()) == len(ids)


def test_what_surprises_more_is_darker_and_the_first_token_is_white(model: GPT2) -> None:
    picture = TokensOfText(["a"] * 4, [1] * 4, [False] * 4, [None, 0.5, 4, 99], 8.0)
    lightness = [sum(color[:3]) for color in picture.colors()]
    assert lightness[0] == 3
    assert lightness[1] > lightness[2] > lightness[3]
    assert "mean surprisal 34.50 bits" in picture.description()


def test_without_a_model_tokens_alternate_in_color() -> None:
    picture = tokens_of(Tokenizer.gpt2(), "one two three")
    assert picture.ids == [505, 734, 1115]
    first, second, third = picture.colors()
    assert first == third != second
    assert picture.bits is None
    assert len(picture.figure().axes) == 1  # there is no scale
    assert picture.to_json()["tokens"] == ["one", " two", " three"]


def test_lines_end_where_the_texts_do_and_where_the_page_does() -> None:
    _, boxes = drawn(tokens_of(Tokenizer.gpt2(), "a\nb" + " word" * 40))
    corners = [path.vertices[0] for path in boxes.get_paths()]
    lines = [int(corner[1]) for corner in corners]
    assert lines[:4] == [0, 0, 1, 1]
    assert lines == sorted(lines)
    assert max(lines) == 3
    assert all(path.vertices[:, 0].max() <= LINE_WIDTH for path in boxes.get_paths())


def test_boxes_of_a_line_do_not_overlap() -> None:
    text = "He paid $5 for “naïve” 日本語 😀\t" + " " * 30 + "中文" * 20 + "=" * 200
    _, boxes = drawn(tokens_of(Tokenizer.gpt2(), text))
    ends: dict[int, float] = {}
    for path in boxes.get_paths():
        line = int(path.vertices[0, 1])
        assert path.vertices[:, 0].min() >= ends.get(line, 0)
        ends[line] = path.vertices[:, 0].max()
        assert ends[line] <= LINE_WIDTH


def test_the_table_of_a_long_text_has_its_most_surprising_tokens() -> None:
    bits = [None, *map(float, range(60))]
    picture = TokensOfText(["a"] * 61, [1] * 61, [False] * 61, bits, 8.0)
    assert [row[0] for row in picture.table().rows] == list(range(13, 61))


@pytest.mark.parametrize(("text", "count"), [("", 0), ("\n " * 513, 1026)])
def test_a_text_without_a_model_has_a_bounded_length(text: str, count: int) -> None:
    with pytest.raises(InputError, match=f"must have 1 to 1024 tokens, got {count}"):
        tokens_of(Tokenizer.gpt2(), text)
