import numpy as np

from llm_tokenizer.compiled.pair_index import NONE, PairIndex, join, most_frequent
from llm_tokenizer.learner import index_of
from llm_tokenizer.vocabulary import BYTE_ORDER

A, B = BYTE_ORDER.index(b"a"), BYTE_ORDER.index(b"b")
X = 256


def index() -> PairIndex:
    """Return the index of the module's example: "abab" once and "ab" twice."""
    content, bounds = np.frombuffer(b"ababab", np.uint8), np.array([0, 4, 6])
    return index_of(content, bounds, np.array([1, 2]))


def pairs_of(index: PairIndex) -> dict[tuple[int, int], tuple[int, list[int]]]:
    """Return the ids of each pair -> its count and its places as they are linked."""
    pairs = {}
    for pair in index.pairs[: index.sizes[0]["pairs"]]:
        places, place = [], pair["first"]
        while place != NONE:
            places.append(int(place))
            place = index.text[place]["next"]
        pairs[pair["ids"] >> 32, pair["ids"] & 0xFFFFFFFF] = (pair["count"], places)
    return pairs


def test_each_pair_has_its_count_and_its_places() -> None:
    assert pairs_of(index()) == {(A, B): (4, [4, 2, 0]), (B, A): (1, [1])}


def test_the_most_frequent_pair_is_found() -> None:
    assert most_frequent(index()) == (0, 4, A << 32 | B)


def test_a_join_moves_the_places_to_the_new_pairs() -> None:
    joined = index()
    assert join(0, X, joined)
    assert pairs_of(joined) == {
        (A, B): (0, []),
        (B, A): (0, []),
        (B, X): (0, []),
        (X, X): (1, [0]),
    }
    assert joined.text["token"][[0, 2, 4]].tolist() == [X, X, X]
    assert joined.text["after"][[0, 2, 4]].tolist() == [2, NONE, NONE]


def test_the_count_of_a_pair_that_has_become_rare_is_corrected_on_top_of_the_queue() -> None:
    joined = index()
    join(0, X, joined)
    assert most_frequent(joined)[1:] == (1, X << 32 | X)


def test_no_pair_is_found_where_none_is_left() -> None:
    joined = index()
    join(0, X, joined)
    join(most_frequent(joined)[0], X + 1, joined)
    assert most_frequent(joined)[1] == 0
    assert (
        most_frequent(
            index_of(np.empty(0, np.uint8), np.zeros(1, np.int64), np.empty(0, np.int64))
        )[1]
        == 0
    )


def test_a_join_that_finds_the_tables_full_changes_nothing_and_asks_for_larger_ones() -> None:
    full = index()
    full = full._replace(pairs=full.pairs[:3])  # two are there, and a join can bring up two more
    assert not join(0, X, full)
    assert pairs_of(full) == pairs_of(index())
