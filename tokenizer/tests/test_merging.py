from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_tokenizer.merging import Merge, Pair, merge, merge_with_heap

A, B, AB, ABA, AA = 0, 1, 2, 3, 4
MergeFunction = Callable[[Sequence[int], Mapping[Pair, Merge]], list[int]]
BOTH = pytest.mark.parametrize("merge", [merge, merge_with_heap])


@BOTH
def test_a_lower_rank_merges_before_a_higher_one(merge: MergeFunction) -> None:
    merges = {(A, B): Merge(rank=0, id=AB), (B, A): Merge(rank=1, id=9)}
    assert merge([B, A, B], merges) == [B, AB]


@BOTH
def test_of_equal_ranks_the_leftmost_merges_first(merge: MergeFunction) -> None:
    assert merge([A, A, A], {(A, A): Merge(rank=0, id=AA)}) == [AA, A]


@BOTH
def test_a_merged_token_merges_again(merge: MergeFunction) -> None:
    merges = {(A, B): Merge(rank=0, id=AB), (AB, A): Merge(rank=1, id=ABA)}
    assert merge([A, B, A, A, B], merges) == [ABA, AB]


@BOTH
def test_ids_without_merges_stay(merge: MergeFunction) -> None:
    assert merge([], {}) == []
    assert merge([A, B], {}) == [A, B]


# A run of one letter, or letters in any order.
PIECES = st.lists(st.integers(0, 2), max_size=30) | st.builds(
    lambda letter, length: [letter] * length, st.integers(0, 2), st.integers(0, 60)
)


@given(
    PIECES,
    st.dictionaries(
        st.tuples(st.integers(0, 6), st.integers(0, 6)), st.integers(3, 6), max_size=12
    ),
)
def test_the_heap_finds_what_the_search_finds(
    ids: list[int], outcomes: dict[tuple[int, int], int]
) -> None:
    merges = {pair: Merge(rank, id) for rank, (pair, id) in enumerate(outcomes.items())}
    assert merge_with_heap(ids, merges) == merge(ids, merges)


@pytest.mark.parametrize("length", range(20))
def test_a_run_of_one_letter_is_halved_again_and_again(length: int) -> None:
    # 2**k letters are id k, so what is left has the ids of the length's binary digits.
    merges = {(k, k): Merge(rank=k, id=k + 1) for k in range(5)}
    expected = [k for k in range(5, -1, -1) if length >> k & 1]
    assert merge([0] * length, merges) == merge_with_heap([0] * length, merges) == expected
