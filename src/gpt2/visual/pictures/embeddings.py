"""Which tokens are alike for a model? Some token embeddings in their two principal components."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure

from gpt2.errors import InputError, NotFiniteError
from gpt2.files.pretrained import GPT2
from gpt2.visual.labels import label_points
from gpt2.visual.pictures.picture import Picture, Table, rounded
from gpt2.visual.style import SERIES, new_figure
from gpt2.visual.token_texts import label, token_id, token_texts
from llm_tokenizer import Tokenizer

WORDS = {  # drawn where no others are asked for: those that are one token with the space before
    "numbers": "one two three four five six seven eight nine ten",
    "pronouns": "I you he she it we they me him her us them",
    "auxiliary verbs": "can could will would may might must should",
    "types of Python": "int str list dict tuple set float bool bytes",
    "colors": "red green blue black white yellow orange brown",
    "months": "January February March April June July August September October November December",
}
FEWEST_OF_A_GROUP = 3
FEWEST, MOST = 3, 120  # tokens: two components need three, and more labels have no room
FALLBACK = 40  # tokens of a vocabulary that has none of the words
MARKERS = "os^DvPX"


def embedding_map(model: GPT2, groups: Mapping[str, Sequence[int]] | None = None) -> "EmbeddingMap":
    """Project the embeddings of some tokens on their two principal components.

    Args:
        model: Has a tokenizer, for the labels.
        groups: Token ids by the names of their groups; some words' if not given.
    Raises:
        InputError: There are too few or too many tokens, or the model has no tokenizer.
        NotFiniteError: The model has diverged.
    """
    tokenizer = model.require_tokenizer()
    group_of: dict[int, str] = {}  # each token once
    for group, ids in (groups or word_groups(tokenizer)).items():
        for i in ids:
            group_of.setdefault(i, group)
    if not FEWEST <= len(group_of) <= MOST:
        raise InputError(
            f"tokens must be {FEWEST} to {MOST} that differ, to be seen apart in two components, "
            f"got {len(group_of)}"
        )
    with torch.inference_mode():
        vectors = model.wte(torch.tensor(list(group_of), device=model.device))  # (N, C)
    if not vectors.isfinite().all():
        raise NotFiniteError(
            "token embeddings must be finite to have principal components, got others: the model "
            "has diverged; take an earlier checkpoint"
        )
    places, shares = principal_components(vectors.double().cpu().numpy())
    texts = token_texts(tokenizer, group_of)
    return EmbeddingMap(list(group_of), texts, list(group_of.values()), places, shares)


def principal_components(vectors: np.ndarray) -> tuple[np.ndarray, list[float]]:
    """Project vectors on the two directions in which they vary most.

    Args:
        vectors: (N, C).
    Returns:
        Their places, (N, 2), around the mean; and the share of the variance that each direction
        has. The farthest vector lies on the positive side of each direction.
    Source: Pearson 1901, doi:10.1080/14786440109462720.
    """
    centred = vectors - vectors.mean(axis=0)
    left, lengths, _ = np.linalg.svd(centred, full_matrices=False)
    places = np.zeros((len(vectors), 2))
    places[:, : left.shape[1]] = (left * lengths)[:, :2]
    farthest = places[np.abs(places).argmax(axis=0), [0, 1]]
    total = float((lengths**2).sum()) or 1.0
    shares = [float(length**2) / total for length in (*lengths, 0.0, 0.0)[:2]]
    return places * np.where(farthest < 0, -1, 1), shares


def word_groups(tokenizer: Tokenizer) -> dict[str, list[int]]:
    """Return groups of words that a vocabulary has as tokens; if none, the first of its words."""
    known = {group: _single_tokens(tokenizer, words) for group, words in WORDS.items()}
    groups = {group: ids for group, ids in known.items() if len(ids) >= FEWEST_OF_A_GROUP}
    return groups or {"tokens": _first_words(tokenizer)}


def listed_tokens(tokenizer: Tokenizer, listed: str) -> list[int]:
    """Return the ids of tokens that are listed with commas between; spaces count.

    >>> listed_tokens(Tokenizer.gpt2(), " cat, dog,The")
    [3797, 3290, 464]

    Raises:
        InputError: One of them is no token, but several.
    """
    return [token_id(tokenizer, text) for text in listed.split(",")]


def _single_tokens(tokenizer: Tokenizer, words: str) -> list[int]:
    encoded = (tokenizer.encode_ordinary(f" {word}") for word in words.split())
    return [ids[0] for ids in encoded if len(ids) == 1]


def _first_words(tokenizer: Tokenizer) -> list[int]:
    """Return the first tokens of a vocabulary that are words, or else the first of all."""
    ids = sorted(tokenizer.vocabulary.token_ids.values())
    texts = token_texts(tokenizer, ids)
    words = [
        i for i, text in zip(ids, texts, strict=True) if text[:1] == " " and text[1:].isalpha()
    ]
    return (words if len(words) >= FEWEST else ids)[:FALLBACK]


@dataclass(frozen=True)
class EmbeddingMap(Picture):
    """Some tokens in two principal components."""

    name = "embeddings"
    title = "Token embeddings"
    seen = (
        "Each point is a token. Of the many numbers of its embedding, wte, two are left: its "
        "places along the two directions in which these tokens differ most."
    )
    look_for = (
        "A trained model puts words that are used alike near each other: numbers by numbers, "
        "pronouns by pronouns. The axes say how much of the variance is seen: where it is little, "
        "points that seem near may be far apart in what is not seen."
    )
    code = (embedding_map, principal_components)

    ids: list[int]
    tokens: list[str]
    groups: list[str]  # of each token
    places: np.ndarray  # (N, 2)
    variance_shares: list[float]  # of the two components

    def draw(self) -> Figure:
        """Draw a point a token, with its text beside it."""
        figure, axes = new_figure(8.5, 6.5)
        groups = list(dict.fromkeys(self.groups))
        for i, group in enumerate(groups):
            places = self.places[[each == group for each in self.groups]]
            axes.scatter(
                places[:, 0], places[:, 1], color=SERIES[i], marker=MARKERS[i], s=22, label=group
            )
        axes.margins(0.08)
        axes.grid()
        first, second = (f"{share:.0%} of the variance" for share in self.variance_shares)
        axes.set(
            title=self.title,
            xlabel=f"first principal component, {first}",
            ylabel=f"second principal component, {second}",
        )
        if len(groups) > 1:
            axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
        label_points(axes, self.places, self._labels())
        return figure

    def _labels(self) -> list[str]:
        """Return the tokens; the spaces before them are shown unless all have one."""
        if all(token.startswith(" ") and token != " " for token in self.tokens):
            return [label(token[1:]) for token in self.tokens]
        return [label(token) for token in self.tokens]

    def table(self) -> Table:
        """Return the places of the tokens."""
        rows: list[list[str | float | None]] = [
            [token, i, group, *rounded(*place)]
            for token, i, group, place in zip(
                self.tokens, self.ids, self.groups, self.places, strict=True
            )
        ]
        return Table(["token", "id", "group", "first component", "second component"], rows)

    def description(self) -> str:
        """Return what is drawn."""
        total = sum(self.variance_shares)
        return f"{len(self.ids)} tokens in two components that hold {total:.0%} of their variance."
