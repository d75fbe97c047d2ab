from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from gpt2.files.pretrained import GPT2
from gpt2.visual.capture import record
from gpt2.visual.pictures.lens import MOST_COLUMNS, Lens, lens, read_lens

IDS = [5, 80, 290, 17, 17]


def test_the_last_column_is_the_models_own_prediction(model: GPT2) -> None:
    with torch.no_grad():
        expected = model(torch.tensor([IDS]))[0].softmax(-1).max(-1)
    picture = lens(model, record(model, IDS))
    assert picture.ids[-1].tolist() == expected.indices.tolist()
    np.testing.assert_allclose(picture.probabilities[-1], expected.values, rtol=1e-5)


def test_each_column_is_the_head_at_the_hidden_states_of_transformers(
    model: GPT2, tmp_path: Path
) -> None:
    import transformers

    model.save_pretrained(tmp_path)
    theirs = transformers.GPT2LMHeadModel.from_pretrained(tmp_path)
    with torch.no_grad():
        states = theirs(torch.tensor([IDS]), output_hidden_states=True).hidden_states
        *early, last = torch.cat(states)  # the last one is normalized already
        logits = theirs.lm_head(torch.stack([*map(theirs.transformer.ln_f, early), last]))
    expected = logits.softmax(-1).topk(3)
    ids, probabilities = read_lens(model, record(model, IDS), top=3)
    assert torch.equal(ids, expected.indices)
    torch.testing.assert_close(probabilities, expected.values)


def test_a_long_text_is_shown_by_its_last_tokens(
    model: GPT2, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = record(model, IDS)
    whole = lens(model, recording)
    monkeypatch.setattr("gpt2.visual.pictures.lens.MOST_ROWS", 2)
    picture = lens(model, recording)
    assert picture.first == 3
    assert picture.tokens == whole.tokens[3:]
    assert picture.following == [17, None]
    np.testing.assert_array_equal(picture.ids, whole.ids[:, 3:])
    assert "the last 2 of 5 tokens" in picture.heading()


def two_by_two() -> Lens:
    return Lens(
        first=0,
        tokens=["a", " $b"],
        following=[7, None],
        layers=["embeddings", "block 0"],
        ids=np.array([[3, 3], [7, 9]]),
        predictions=[["x", "x"], ["y", " z"]],
        probabilities=np.array([[0.1, 0.2], [0.9, 0.4]]),
    )


def test_cells_hold_the_predictions_and_what_comes_next_is_bold() -> None:
    axes = two_by_two().figure().axes[0]
    cells = {text.get_position(): text for text in axes.texts}  # (column, row)
    shown = {place: text.get_text() for place, text in cells.items()}
    assert shown == {(0, 0): "x", (0, 1): "x", (1, 0): "y", (1, 1): "␣z"}
    bold = [place for place, text in cells.items() if text.get_weight() == "bold"]
    assert bold == [(1, 0)]
    (image,) = axes.images
    np.testing.assert_array_equal(np.asarray(image.get_array()), [[0.1, 0.9], [0.2, 0.4]])
    assert to_rgb(cells[1, 0].get_color()) == (1, 1, 1)  # white on dark blue
    assert to_rgb(cells[0, 0].get_color()) == (0, 0, 0)


def test_of_many_blocks_some_are_drawn_the_first_and_the_last_among_them() -> None:
    picture = replace(two_by_two(), layers=[f"block {i}" for i in range(49)])
    chosen = picture.columns()
    assert len(chosen) == MOST_COLUMNS
    assert chosen[0] == 0
    assert chosen[-1] == 48
    assert len(set(np.diff(chosen))) == 1


def test_the_words_say_where_the_prediction_settles() -> None:
    assert two_by_two().table().rows[-1] == ("block 0", " z", 0.4)
    assert "is “ z”, from block 0 on" in two_by_two().description()
    same = replace(two_by_two(), ids=np.array([[3, 9], [7, 9]]))
    assert "from embeddings on" in same.description()


def test_one_token_is_enough(model: GPT2) -> None:
    picture = lens(model, record(model, [7]))
    assert picture.ids.shape == (4, 1)
    assert len(picture.figure().axes[0].texts) == 4
