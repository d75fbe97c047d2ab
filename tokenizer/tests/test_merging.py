from hypothesis import given
from hypothesis import strategies as st

from llm_tokenizer.merging import Merge, merge

A, B, AB, ABA, AA = 0, 1, 2, 3, 4


def test_a_lower_rank_merges_before_a_higher_one() -> None:
    merges = {(A, B): Merge(rank=0, id=AB), (B, A): Merge(rank=1, id=9)}
    assert merge([B, A, B], merges) == [B, AB]


def test_of_equal_ranks_the_leftmost_merges_first() -> None:
    assert merge([A, A, A], {(A, A): Merge(rank=0, id=AA)}) == [AA, A]


def test_a_merged_token_merges_again() -> None:
    merges = {(A, B): Merge(rank=0, id=AB), (AB, A): Merge(rank=1, id=ABA)}
    assert merge([A, B, A, A, B], merges) == [ABA, AB]


def test_ids_without_merges_stay() -> None:
    assert merge([], {}) == []
    assert merge([A, B], {}) == [A, B]


@given(
    st.lists(st.integers(0, 2), max_size=30),
    st.dictionaries(
        st.tuples(st.integers(0, 6), st.integers(0, 6)), st.integers(3, 6), max_size=12
    ),
)
def test_the_heap_finds_what_a_search_of_all_pairs_finds(
    ids: list[int], outcomes: dict[tuple[int, int], int]
) -> None:
    merges = {pair: Merge(rank, id) for rank, (pair, id) in enumerate(outcomes.items())}
    assert merge(ids, merges) == merge_by_search(ids, merges)


def merge_by_search(ids: list[int], merges: dict[tuple[int, int], Merge]) -> list[int]:
    ids = list(ids)
    while True:
        pairs = [(merges[pair], i) for i, pair in enumerate(zip(ids, ids[1:])) if pair in merges]  # noqa: B905, RUF007
        if not pairs:
            return ids
        found, i = min(pairs)
        ids[i : i + 2] = [found.id]
