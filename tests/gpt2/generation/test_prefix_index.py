"""Texts are found by their first tokens, a block at a time."""

import random

import pytest

from gpt2.generation import prefix_index
from gpt2.generation.prefix_index import BLOCK, PrefixIndex


def test_the_texts_with_most_common_blocks_are_found_the_last_first() -> None:
    known: PrefixIndex[str] = PrefixIndex()
    ids = list(range(3 * BLOCK))
    known.add("one block", ids[:BLOCK])
    known.add("two", [*ids[: 2 * BLOCK], 7, 7])
    known.add("two as well", [*ids[: 3 * BLOCK - 1], 7])
    known.add("none", ids[: BLOCK - 1])
    assert known.find(ids) == ["two as well", "two"]
    assert known.find(ids[: 2 * BLOCK - 1]) == ["two as well", "two", "one block"]
    assert known.find([*ids[:BLOCK], 99]) == ["two as well", "two", "one block"]
    assert known.find(ids[: BLOCK - 1]) == known.find([99, *ids]) == []


def test_a_text_that_was_removed_is_not_found_and_takes_no_memory() -> None:
    known: PrefixIndex[int] = PrefixIndex()
    ids = list(range(5 * BLOCK))
    for owner in range(4):
        known.add(owner, ids[: (owner + 2) * BLOCK])
    known.remove(3)
    assert known.find(ids) == [2]
    for owner in (1, 0, 2):
        known.remove(owner)
    assert known.find(ids) == []
    assert not known._owners
    assert not known._keys


def test_of_very_many_alike_some_are_found() -> None:
    known: PrefixIndex[int] = PrefixIndex()
    for owner in range(1000):
        known.add(owner, [1] * 40)
    assert known.find([1] * 40) == list(range(999, 999 - prefix_index.MOST_FOUND, -1))


@pytest.mark.parametrize("seed", range(3))
def test_what_is_found_has_as_many_common_blocks_as_the_best_by_search(seed: int) -> None:
    chance = random.Random(seed)
    known: PrefixIndex[int] = PrefixIndex()
    texts = {}
    for owner in range(60):
        texts[owner] = [chance.choice((1, 2)) for _ in range(8)] * 8
        known.add(owner, texts[owner])
        if chance.random() < 0.3:
            gone = chance.choice([*texts])
            known.remove(gone)
            del texts[gone]
        wanted = [chance.choice((1, 2)) for _ in range(8)] * 8
        best = [other for other, ids in texts.items() if ids[:BLOCK] == wanted[:BLOCK]]
        assert set(known.find(wanted)) == set(best[-prefix_index.MOST_FOUND :])
