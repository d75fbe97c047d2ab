import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpt2.data.batches import RowOrder, TokenStream
from gpt2.errors import DataError


def test_a_row_is_the_inputs_and_one_more_token() -> None:
    stream = TokenStream([np.arange(13, dtype=np.uint16)], length=4)
    assert stream.rows == 3
    assert stream.read_rows([0, 2]).tolist() == [[0, 1, 2, 3, 4], [8, 9, 10, 11, 12]]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 7))
def test_shard_borders_do_not_show(lengths: list[int], length: int) -> None:
    tokens = np.arange(sum(lengths) + length + 1, dtype=np.uint16)
    borders = np.cumsum(lengths)
    stream = TokenStream(np.split(tokens, borders), length)
    whole = TokenStream([tokens], length)
    assert stream.rows == whole.rows
    for row in range(whole.rows):
        assert stream.read(row).tolist() == whole.read(row).tolist()


def test_too_little_text_is_told_with_both_lengths() -> None:
    with pytest.raises(DataError, match="one row needs 9 tokens, the held-out text has 8"):
        TokenStream([np.zeros(8, np.uint16)], 8, "held-out")


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 5))
def test_an_epoch_reads_every_row_once(rows: int, batch_rows: int, seed: int) -> None:
    order = RowOrder(rows, batch_rows, seed)
    read = [row for step in range(-(-3 * rows // batch_rows)) for row in order.at(step)]
    for epoch in range(3):
        assert sorted(read[epoch * rows : (epoch + 1) * rows]) == list(range(rows))


def test_a_step_reads_the_same_rows_whatever_was_read_before() -> None:
    order = RowOrder(rows=50, batch_rows=7, seed=1)
    forward = [order.at(step) for step in range(30)]
    assert [order.at(step) for step in reversed(range(30))] == forward[::-1]
    assert RowOrder(rows=50, batch_rows=7, seed=1).at(23) == forward[23]


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    first, second = (RowOrder(50, 50, seed=1).at(epoch) for epoch in (0, 1))
    assert first != second
    assert RowOrder(50, 50, seed=2).at(0) != first
