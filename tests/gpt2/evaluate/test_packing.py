"""Packing: which rows a question takes, and what each of their tokens attends to."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from gpt2.evaluate.packing import Question, Row, SharedContext, rows_of, scored_tokens

LONGEST = 24


def test_a_row_as_packed_by_hand() -> None:
    row = Row(0, [0, 1], [10, 11], [[20, 21, 22], [30, 31]])
    assert row.ids.tolist() == [10, 11, 20, 21, 30]  # the last of each is only predicted
    assert row.branches.tolist() == [0, 0, 1, 1, 2]
    assert row.positions.tolist() == [0, 1, 2, 3, 2]
    places, targets, starts = scored_tokens([row, row], 6)
    assert places.tolist() == [1, 2, 3, 1, 4, 7, 8, 9, 7, 10]
    assert targets.tolist() == [20, 21, 22, 30, 31] * 2
    assert starts.tolist() == [0, 3, 5, 8]


def test_a_token_attends_to_the_context_and_its_own_branch() -> None:
    shared = SharedContext(torch.tensor([[0, 0, 1, 1, 2]]), torch.tensor([[0, 1, 2, 3, 2]]))
    mask = shared.mask(shared.positions(5))
    assert mask.int().tolist()[0][0] == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]


@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.lists(st.integers(1, LONGEST), min_size=1, max_size=6)),
        min_size=1,
        max_size=5,
    )
)
def test_no_row_is_longer_than_the_context_and_none_is_lost(
    shapes: list[tuple[int, list[int]]],
) -> None:
    for context, continuations in shapes:
        question = Question(range(context), [range(n) for n in continuations])
        rows = list(rows_of(0, question, LONGEST))
        assert all(row.length <= LONGEST for row in rows)
        assert sorted(i for row in rows for i in row.indices) == list(range(len(continuations)))
        for row in rows:
            assert list(row.context) == list(range(context))[context - len(row.context) :]
            cut = len(row.context) < context
            assert not cut or row.length == LONGEST  # no token is dropped that had room
