import json

import numpy as np
import pytest

from gpt2.config import GPT2Config
from gpt2.errors import InputError, NotFiniteError
from gpt2.files.pretrained import GPT2
from gpt2.model.quantized import quantize_network
from gpt2.visual.images import image_bytes
from gpt2.visual.pictures.embeddings import (
    embedding_map,
    listed_tokens,
    principal_components,
    word_groups,
)
from llm_tokenizer import Tokenizer


def test_components_are_those_computed_by_hand() -> None:
    # A cross around (1, 1, 5): 3 to both sides along the second axis, 1 along the first.
    vectors = np.array([[1, 4, 5], [1, -2, 5], [2, 1, 5], [0, 1, 5]], dtype=float)
    places, shares = principal_components(vectors)
    assert np.abs(places) == pytest.approx(np.array([[3, 0], [3, 0], [0, 1], [0, 1]]), abs=1e-12)
    assert shares == pytest.approx([0.9, 0.1])


def test_distances_of_vectors_in_a_plane_are_kept() -> None:
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(9, 2))
    turned, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    places, shares = principal_components(np.pad(flat, ((0, 0), (0, 4))) @ turned + 3)
    for i in range(9):
        expected = np.linalg.norm(flat - flat[i], axis=1)
        assert np.linalg.norm(places - places[i], axis=1) == pytest.approx(expected)
    assert sum(shares) == pytest.approx(1)


@pytest.mark.parametrize("negated", [1, -1])
def test_the_farthest_vector_is_on_the_positive_side(negated: int) -> None:
    vectors = negated * np.array([[5.0, 0.0], [-1.0, 1.0], [-2.0, -1.0], [-2.0, 0.0]])
    places, _ = principal_components(vectors)
    assert places[0, 0] == np.abs(places[:, 0]).max()


def test_vectors_that_are_all_equal_have_no_variance() -> None:
    places, shares = principal_components(np.ones((4, 3)))
    assert not places.any()
    assert shares == [0.0, 0.0]


def test_vectors_of_one_channel_have_one_component() -> None:
    places, shares = principal_components(np.array([[1.0], [2.0], [3.0]]))
    assert places.tolist() == pytest.approx(np.array([[-1, 0], [0, 0], [1, 0]]) * places[2, 0])
    assert shares == [1.0, 0.0]


def test_each_token_is_drawn_once_where_it_lies(model: GPT2) -> None:
    picture = embedding_map(model, {"a": [65, 66, 67, 65], "b": [67, 70]})
    assert picture.ids == [65, 66, 67, 70]
    assert picture.groups == ["a", "a", "a", "b"]
    expected, shares = principal_components(
        model.wte.weight[[65, 66, 67, 70]].detach().double().numpy()
    )
    assert picture.places == pytest.approx(expected)
    axes = picture.figure().axes[0]
    drawn = np.concatenate([np.asarray(points.get_offsets()) for points in axes.collections])
    assert drawn == pytest.approx(expected)
    assert [text.get_text() for text in axes.texts] == picture.tokens
    assert axes.get_xlabel() == f"first principal component, {shares[0]:.0%} of the variance"


def test_groups_are_named_beside_the_picture(model: GPT2) -> None:
    legend = embedding_map(model, {"a": [65, 66], "b": [70]}).figure().axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"]
    assert embedding_map(model, {"a": [65, 66, 70]}).figure().axes[0].get_legend() is None


def test_spaces_are_seen_unless_all_tokens_begin_with_one() -> None:
    tokenizer = Tokenizer.gpt2()

    def labels(listed: str) -> list[str]:
        size = tokenizer.n_vocab
        model = GPT2(_tiny(size), tokenizer=tokenizer)
        picture = embedding_map(model, {"tokens": listed_tokens(tokenizer, listed)})
        return [text.get_text() for text in picture.figure().axes[0].texts]

    assert labels(" cat, dog, bird") == ["cat", "dog", "bird"]
    assert labels(" cat,cat, dog") == ["␣cat", "cat", "␣dog"]


def test_words_are_drawn_that_the_vocabulary_has() -> None:
    groups = word_groups(Tokenizer.gpt2())
    decoded = {name: [Tokenizer.gpt2().decode([i]) for i in ids] for name, ids in groups.items()}
    assert decoded["numbers"][:3] == [" one", " two", " three"]
    assert list(decoded) == [
        "numbers",
        "pronouns",
        "auxiliary verbs",
        "types of Python",
        "colors",
        "months",
    ]
    assert sum(map(len, decoded.values())) > 50


def test_a_vocabulary_without_these_words_has_others_drawn(model: GPT2, gapped_model: GPT2) -> None:
    for each in (model, gapped_model):
        picture = embedding_map(each)
        assert set(picture.groups) == {"tokens"}
        assert 3 <= len(picture.ids) <= 40
        assert all(token.startswith(" ") for token in picture.tokens)


def test_the_numbers_and_the_table_are_those_drawn(model: GPT2) -> None:
    picture = embedding_map(model, {"a": [65, 66, 67]})
    numbers = json.loads(json.dumps(picture.to_json(), allow_nan=False))
    assert numbers["ids"] == [65, 66, 67]
    assert numbers["places"] == picture.places.tolist()
    token, i, group, x, _ = picture.table().rows[1]
    assert (token, i, group) == (picture.tokens[1], 66, "a")
    assert x == pytest.approx(picture.places[1, 0], abs=1e-4)
    assert picture.description().startswith("3 tokens in two components that hold 100%")


def test_a_quantized_model_is_drawn(model: GPT2) -> None:
    exact = embedding_map(model, {"a": [65, 66, 67]}).places
    quantize_network(model, 8)
    places = embedding_map(model, {"a": [65, 66, 67]}).places
    assert places == pytest.approx(exact, abs=0.05 * np.abs(exact).max())


@pytest.mark.parametrize("count", [0, 2, 121])
def test_too_few_or_too_many_tokens_are_refused(model: GPT2, count: int) -> None:
    with pytest.raises(InputError, match=f"tokens must be 3 to 120 .* got {count}"):
        embedding_map(model, {"a": list(range(count))})


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        (" cat,caterpillar", "'caterpillar' must be one token of this vocabulary, got 'c', 'ater"),
        ("sailor, dog", "got 's', 'ail', 'or'; ' sailor', with a space before it, is one"),
        (" cat,", "'' must be one token of this vocabulary, got nothing"),
    ],
)
def test_what_is_no_token_is_refused(listed: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        listed_tokens(Tokenizer.gpt2(), listed)
    assert message in str(error.value)


def test_embeddings_that_are_not_finite_are_refused(model: GPT2) -> None:
    model.wte.weight.data[66, 3] = float("nan")
    with pytest.raises(NotFiniteError, match="the model has diverged"):
        embedding_map(model, {"a": [65, 66, 67]})


def test_characters_that_no_font_has_are_drawn() -> None:
    tokenizer = Tokenizer.gpt2()
    model = GPT2(_tiny(tokenizer.n_vocab), tokenizer=tokenizer)
    picture = embedding_map(model, {"a": tokenizer.encode("の$の，x\n")})
    assert "の" in picture.tokens
    image_bytes(picture.figure(), "png")  # without a warning, which would be an error here


def test_a_model_without_a_tokenizer_is_refused(model: GPT2) -> None:
    model.tokenizer = None
    with pytest.raises(InputError, match="the model has no tokenizer"):
        embedding_map(model)


def _tiny(size: int) -> GPT2Config:
    return GPT2Config(vocab_size=size, n_positions=4, n_embd=4, n_layer=1, n_head=1)
